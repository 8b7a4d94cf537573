"""``kubesweep init``: read a table, ask, show which rows match, and write a file. The database is only read.

Nothing is written before the last answer, so Ctrl-C leaves nothing behind. Each part that calls the database runs on its own event
loop, because a loop would delay Ctrl-C while a question waits.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from kubesweep.api.loading.files import Loaded, load_text
from kubesweep.api.loading.variables import check_unbraced
from kubesweep.check_document import CheckDocument, CheckError, CheckResult
from kubesweep.errors import Outage, SpecError, SweepFailure
from kubesweep.logging import safe_url
from kubesweep_cli.commands.check import check_document
from kubesweep_cli.init.answers import parse_table
from kubesweep_cli.init.asker import Asker, Question
from kubesweep_cli.init.file_text import file_text
from kubesweep_cli.init.proposal import VARIABLE, Proposal, approval, propose
from kubesweep_cli.init.questions import Given, complete
from kubesweep_cli.shell.exit_codes import Exit, Unreachable
from kubesweep_cli.shell.state_paths import program
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views.check_report import show
from kubesweep_worker.runtime.event_loop import run as run_async
from kubesweep_worker.sources.facts import TableFacts, read_facts
from kubesweep_worker.sources.fit import missing_columns
from kubesweep_worker.sources.reconnecting import URL_ERRORS, is_wrong_url

__all__ = ["Target", "run_init"]

STDOUT = Path("-")
# The file is right, and somebody else has to act first.
RIGHTS = frozenset({"PermissionDenied", "ReadOnly"})
NO, DRY_RUN = "n", "d"


@dataclass(frozen=True, slots=True)
class Target:
    """What is read, and what is written."""

    table: str
    url: str | None = None  # None: of the variable
    out: Path | None = None  # None: NAME.yaml
    force: bool = False
    dry_run: bool = False
    ask: bool = True  # where there is a terminal


def run_init(terminal: Terminal, target: Target, given: Given) -> Exit:
    """Raises SpecError, SweepFailure, Unreachable and Outage; then nothing is written."""
    url, asker = _url(target), Asker(terminal, interactive=target.ask and sys.stdin.isatty())
    schema, name = Asker.read("--table", parse_table, target.table)
    if target.out is not None:
        _check_free(target.out, target.force)
    table = _facts(url, schema, name)
    answers = complete(asker, table, given)
    file = target.out or Path(f"{answers.name}.yaml")
    _check_free(file, target.force)
    proposal = propose(table, answers, _secret_url(table, url))
    [one] = load_text(file_text(proposal, dry_run=target.dry_run), str(file), url=url)
    report = terminal if file != STDOUT else Terminal(terminal.err, terminal.err, terminal.verbosity)
    found, refused = _preview(report, table, one)
    answer = _confirmed(asker, file, dry_run=target.dry_run)
    if answer == NO:
        terminal.say("Nothing was written.")
        return Exit.FAILURE
    text = _text(proposal, found, dry_run=target.dry_run or answer == DRY_RUN)
    if file == STDOUT:
        terminal.out.file.write(text)
    else:
        _save(file, text, target.force)
        terminal.line(f"\nWrote {file}.")
    report.next_steps(_next_steps(file, url))
    return Exit.FAILURE if refused else Exit.CLEAN


def _url(target: Target) -> str:
    url = target.url or os.environ.get(VARIABLE)
    if not url:
        raise SpecError(
            "UrlNeeded",
            f"init needs the URL of a database: --url URL, or the variable {VARIABLE}.\n"
            "Write postgresql://user:password@host:5432/database or sqlite:///file.db.",
        )
    return Asker.read("--url" if target.url else f"${VARIABLE}", _braced, url)


def _braced(url: str) -> str:
    check_unbraced(url)
    return url


def _secret_url(table: TableFacts, url: str) -> str:
    """What the file has as URL: of PostgreSQL a variable, because the URL may have a password."""
    return url.replace("${", "$${") if table.database == "sqlite" else f"${{{VARIABLE}}}"


def _check_free(file: Path, force: bool) -> None:
    if not force and file != STDOUT and os.path.lexists(file):
        raise SpecError("FileExists", f"{file} exists already: add --force to replace it, or --out for another file.")


def _facts(url: str, schema: str | None, name: str) -> TableFacts:
    try:
        table = run_async(read_facts(url, schema, name))
    except (Outage, SweepFailure) as error:
        if isinstance(error, Outage) or (error.reason in URL_ERRORS and not is_wrong_url(error)):
            raise Unreachable(f"{error.reason}: {error}") from None
        raise
    if not table.keys:
        raise SweepFailure(
            "KeyMissing",
            f"{table.quoted} has no primary key, and no unique index of 1 to 4 NOT NULL columns, so a sweep cannot name a row: create one first",
        )
    return table


def _preview(report: Terminal, table: TableFacts, one: Loaded) -> tuple[CheckDocument, CheckError | None]:
    """Show which rows match now, with the warnings of ``check``. Where the role lacks rights, returns what it lacks too.

    Whether a handler can be imported, or a receiver's name resolved, is for ``check`` to find out.
    """
    found = run_async(check_document(one, effect=False))
    if found.error is not None:
        if found.result is CheckResult.UNREACHABLE:
            raise Unreachable(f"{found.error.reason}: {found.error.message}")
        if found.error.reason not in RIGHTS:
            raise SweepFailure(found.error.reason, found.error.message)
        report.warn(f"{found.error.reason}: {found.error.message}")
        return found, found.error
    show(report, found, sql=False)
    missing = missing_columns(one.plan, table.indexes)
    # An index of the time alone serves too, if there are not too many rows of other values.
    serves = any(index[:1] == missing[-1:] for index in table.indexes)
    if missing and not serves and not any(each.code == "no-index" for each in found.warnings):
        advice = f"  none begins with {', '.join(missing)}; before the table is large:  {table.create_index(missing)}"
        report.out.print(Text.assemble(("  index ", "faint"), advice), soft_wrap=True)
    return found, None


def _confirmed(asker: Asker, file: Path, *, dry_run: bool) -> str:
    """``y``, ``n``, or ``d`` for a dry run."""

    def parse(text: str) -> str:
        answer = text.lower()[:1]
        if answer not in ("y", NO, DRY_RUN):
            raise ValueError("write y, n or d")
        return answer

    title = f"Write {file} (y, n{'' if dry_run else ', or d for mode: DryRun, which changes no row'})"
    return asker.answer(Question(title, "--yes", parse, "y"))


def _text(proposal: Proposal, found: CheckDocument, *, dry_run: bool) -> str:
    return file_text(proposal, dry_run=dry_run, approve=approval(found.stale))


def _save(file: Path, text: str, force: bool) -> None:
    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise SpecError(
            "FileUnwritable", f"{file} cannot be written: {error.strerror}. Name another with --out."
        ) from None


def _next_steps(file: Path, url: str) -> list[tuple[str, str]]:
    if file == STDOUT:
        return []
    named, steps = shlex.quote(str(file)), list[tuple[str, str]]()
    if not url.startswith("sqlite:") and os.environ.get(VARIABLE) != url:
        shown = shlex.quote(url) if safe_url(url) == url else "'URL'"
        steps.append((f"export {VARIABLE}={shown}", f"{file} reads the URL from this variable"))
    steps.append((f"{program()} check -f {named}", "check the file, the table and the effect"))
    steps.append((f"{program()} run -f {named} --once", "run one sweep now"))
    if not url.startswith("sqlite:"):
        apply = f"envsubst '${VARIABLE}' < {named} | kubectl apply -f -"
        steps.append((apply, "or on Kubernetes, which replaces no variable itself"))
    return steps
