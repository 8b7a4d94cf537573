"""``kubesweep check``: inspect schedules before the first sweep. It changes nothing; ``--try-write`` rolls its write back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from kubesweep.api.loading.files import Loaded, load
from kubesweep.check_document import CheckDocument, as_fields, exit_code, with_ticks
from kubesweep.check_report import error_text
from kubesweep_cli.runner.worker_group import folder_of
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.output import TABLE, check_output, print_document, structured
from kubesweep_cli.shell.schedule_files import file_options
from kubesweep_cli.shell.state_paths import program, url_option
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views.check_report import show, show_title
from kubesweep_worker.effects import open_effect
from kubesweep_worker.preflight import Options, preflight
from kubesweep_worker.sources.reconnecting import ReconnectingSource

__all__ = ["check_document", "run_check"]


async def run_check(
    terminal: Terminal,
    files: Sequence[Path],
    url: str | None,
    *,
    try_write: bool,
    sql: bool = False,
    probe: bool = False,
    output: str = TABLE,
) -> Exit:
    """Check every schedule of the files. Returns the worst of their exit codes."""
    worst, fails = Exit.CLEAN, False
    loaded = load(files, url=url)
    if structured(check_output(output)):
        documents = [await check_document(one, try_write=try_write, probe=probe) for one in loaded]
        print_document(terminal, output, [as_fields(each) for each in documents])
        return max(Exit(exit_code(each)) for each in documents)
    for one in loaded:
        show_title(terminal, one.name, one.origin, one.plan.mode)
        document = await check_document(one, try_write=try_write, probe=probe)
        if document.error is not None:
            terminal.error(f"{one.name}: {error_text(document)}")
        else:
            show(terminal, document, sql=sql)
        worst = max(worst, Exit(exit_code(document)))
        fails |= document.fails or document.error is not None
    if fails:
        terminal.next_steps([(f"{program()} check {file_options(files)}{url_option(url)}", "after the fix")])
    else:
        terminal.next_steps(_next_steps(files, url, try_write=try_write))
    return worst


async def check_document(
    one: Loaded, *, try_write: bool = False, probe: bool = False, effect: bool = True
) -> CheckDocument:
    """Query the database, import the handler, and with ``probe`` send a request to the receiver. ``effect`` False: only the database."""
    source = ReconnectingSource(one.plan, one.database.read, one.database.where)
    found = await preflight(
        one.plan if effect else msgspec.structs.replace(one.plan, effect=None),
        source,
        lambda: open_effect(one.plan, lambda: one.headers, folder_of(one), lambda: one.signing) if effect else None,
        Options(try_write=try_write, probe=probe),
    )
    found = msgspec.structs.replace(found, origin=one.origin)
    return with_ticks(found, one.ticks, time.time(), suspended=one.suspend)


def _next_steps(files: Sequence[Path], url: str | None, *, try_write: bool) -> list[tuple[str, str]]:
    options, steps = f"{file_options(files)}{url_option(url)}", []
    if not try_write:
        steps.append((f"{program()} check {options} --try-write", "also try the write on 10 rows, rolled back"))
    steps.append((f"{program()} run {options} --once", "run one sweep now"))
    return steps
