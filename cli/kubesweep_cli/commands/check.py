"""``kubesweep check``: look before you sweep. Nothing is changed, and with ``--try-write`` nothing stays changed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from urllib.parse import urlsplit

from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table as Grid
from rich.text import Text

from kubesweep.api.loading.files import Loaded, load
from kubesweep.api.plan import Plan
from kubesweep.errors import KubesweepError, Outage, RowError, SweepFailure
from kubesweep.ticks import Cron, Ticks, find_zone
from kubesweep_cli.commands.dead_letters import plain_key
from kubesweep_cli.runner.worker_group import folder_of
from kubesweep_cli.shell.exit_codes import Exit, Unreachable, code_of_error
from kubesweep_cli.shell.state_paths import program, url_option
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.sql_layout import laid_out
from kubesweep_worker.effects import open_effect
from kubesweep_worker.sources.base import Explanation, InspectableSource, Predicate, Range, Table, Tried
from kubesweep_worker.sources.paging import timed_out
from kubesweep_worker.sources.reconnecting import ReconnectingSource

__all__ = ["Looked", "facts", "look", "run_check", "try_sentence", "warnings"]

COUNT_MOST = 100_000  # rows that are counted before it is called "more than"
SAMPLES = 5
TRY_ROWS = 10
TICKS = 3  # that are shown
REFUSALS = frozenset({401, 403, 404, 407, 410, *range(500, 600)})


@dataclass(frozen=True, slots=True)
class Looked:
    """Everything that one look found."""

    table: Table
    explained: Explanation
    stale: int | None  # None: counting them outlasted spec.source.statementTimeout
    samples: tuple[tuple[str, ...], ...]
    tried: Tried | None = None
    refused: RowError | None = None  # the tried write was refused by the database
    late: str = ""  # what outlasted spec.source.statementTimeout
    answered: int | None = None  # the status that the receiver answered, where it was asked

    @property
    def fails(self) -> bool:
        """Whether the tried write shows that a sweep would not work."""
        return self.tried is not None and bool(self.tried.still_stale or self.tried.refused)


async def run_check(
    terminal: Terminal,
    files: Sequence[Path],
    url: str | None,
    *,
    try_write: bool,
    sql: bool = False,
    probe: bool = False,
) -> Exit:
    """Check every schedule of the files; the worst of their exit codes."""
    loaded = load(files, url=url)
    worst, refused = Exit.CLEAN, False
    for one in loaded:
        terminal.out.print(
            Text.assemble((one.name, "name"), f"  {one.origin}", (f"  {one.plan.mode}", "faint")), soft_wrap=True
        )
        try:
            looked = await look(one, try_write=try_write, probe=probe)
        except KubesweepError as error:
            reason = f"{error.reason}: " if isinstance(error, (SweepFailure, Outage)) else ""
            terminal.error(f"{one.name}: {reason}{error}")
            worst = max(worst, code_of_error(error))
            continue
        show(terminal, one, looked, sql=sql)
        if warnings(looked, one):
            worst = max(worst, Exit.ROWS_DIED)
        refused |= looked.fails
    if worst in (Exit.CLEAN, Exit.ROWS_DIED) and not refused:
        terminal.next_steps(_next(files, url, try_write=try_write))
    else:
        terminal.next_steps([(f"{program()} check {_named(files)}{url_option(url)}", "after the cure")])
    return worst


async def look(one: Loaded, *, try_write: bool, probe: bool = False) -> Looked:
    """Ask database and handler, and with ``probe`` the receiver. Raises Unreachable, or SweepFailure for what only an edit cures."""
    source, effect, answered = ReconnectingSource(one.plan, one.database.read, one.database.where), None, None
    try:
        try:
            await source.probe()
        except (Outage, SweepFailure) as error:
            raise Unreachable(f"{error.reason}: {error}") from None
        effect = open_effect(one.plan, lambda: one.headers, folder_of(one))
        if effect is not None:
            await effect.probe()
            answered = await effect.ask() if probe else None
        return replace(await _ask(source, try_write=try_write), answered=answered)
    finally:
        if effect is not None:
            await effect.close()
        await source.close()


async def _ask(source: InspectableSource, *, try_write: bool) -> Looked:
    table = await source.inspect()
    cutoff = await source.now()
    explained = await source.explain(cutoff)
    looked = Looked(table, explained, None, ())
    late = "counting the stale rows"
    try:
        stale = await source.count(Predicate(cutoff), COUNT_MOST + 1)
        samples = tuple(row.key for row in await source.stale(Range(), Predicate(cutoff), SAMPLES)) if stale else ()
        looked, late = replace(looked, stale=stale, samples=samples), "trying the write"
        return await _tried(source, looked, cutoff) if try_write else looked
    except Outage as outage:
        if not timed_out(outage):
            raise
        return replace(looked, late=late)


async def _tried(source: InspectableSource, looked: Looked, cutoff: str) -> Looked:
    try:
        return replace(looked, tried=await source.try_write(cutoff, TRY_ROWS))
    except RowError as error:
        return replace(looked, refused=error)


def facts(one: Loaded, looked: Looked, now: float) -> list[tuple[str, str]]:
    """(name, value) pairs for the head of a report."""
    table = looked.table
    if looked.stale is None:
        count = "not counted: the count took longer than spec.source.statementTimeout"
    else:
        count = _counted(looked.stale)
    keys = ", ".join(plain_key(key) for key in looked.samples)
    when = "suspended" if one.suspend else ", ".join(next_ticks(one.ticks, now)) or "never"
    session = ", ".join(f"{name} {value}" for name, value in table.session.items())
    return [
        ("table", f"{table.name}, about {formatting.rows(table.rows_estimate)}, key ({', '.join(table.key)})"),
        *([("session", session)] if session else []),
        *(("children", sentence) for sentence in table.children),
        ("stale now", f"{count}{f', such as {keys}' if keys else ''}"),
        *([("effect", effect)] if (effect := _effect(one.plan, looked.answered)) else []),
        ("next ticks", when),
    ]


def next_ticks(ticks: Ticks, now: float) -> list[str]:
    """The next three, with dates, in the zone of the schedule."""
    zone = find_zone(ticks.time_zone) if isinstance(ticks, Cron) else UTC
    found: list[str] = []
    moment = ticks.next(now)
    while moment is not None and len(found) < TICKS:
        found.append(datetime.fromtimestamp(moment, zone).strftime("%a %Y-%m-%d %H:%M:%S %Z"))
        moment = ticks.next(moment)
    return found


def _effect(plan: Plan, answered: int | None) -> str:
    if plan.effect is None:
        return ""
    if plan.effect.handler:
        return f"handler {plan.effect.handler}, which can be called with (row, ctx)"
    hook = plan.effect.webhook
    if hook is None:
        return ""
    said = f"which answered OPTIONS with {answered}" if answered else "whose name resolves (--probe asks it)"
    return f"webhook to {urlsplit(hook.url).hostname}, {said}"


def _counted(stale: int) -> str:
    return f"more than {formatting.count(COUNT_MOST)} rows" if stale > COUNT_MOST else formatting.rows(stale)


def warnings(looked: Looked, one: Loaded | None = None) -> list[str]:
    """Sentences that want to be read before the first sweep; any of them makes the exit code 1."""
    never = one is not None and not one.suspend and one.ticks.next(time.time()) is None
    found = ["never: spec.schedule names no time that ever comes: correct the day and the month"] if never else []
    found += [f"{code}: {sentence}" for code, sentence in looked.table.warnings]
    advice = looked.explained.index_advice
    if advice and not any(advice in sentence for sentence in found):
        found.append(f"no-index: finding stale rows reads the whole table; create the index:  {advice}")
    if looked.late:
        found.append(
            f"StatementTimeout: {looked.late} took longer than spec.source.statementTimeout; a sweep reads the table page by page"
            " along its key instead, which takes its time: create the index, or raise the timeout"
        )
    if looked.refused is not None:
        found.append(
            f"refused: the database refuses the write of a row, which then stays as a dead letter: {looked.refused.error}: {looked.refused}"
        )
    if looked.tried is not None and looked.tried.still_stale:
        found.append(
            f"NeverEnds: {formatting.rows(looked.tried.still_stale)} still match after the write, so the sweep would never end;"
            " let spec.write change a column of spec.match"
        )
    if looked.answered in REFUSALS:
        found.append(
            f"receiver: it answered OPTIONS with {looked.answered}; a POST may fare better, but see its address and its headers (headersFrom)"
        )
    if looked.tried is not None and looked.tried.refused:
        found.append(
            f"WriteRefused: {formatting.rows(looked.tried.refused)} stay as they are. Of each: {looked.tried.why}"
        )
    return found


def try_sentence(tried: Tried) -> str:
    """What the rolled-back write showed."""
    if not tried.tried:
        return "no row is stale now, so there was nothing to try"
    if tried.still_stale:
        return f"{tried.still_stale} of {formatting.rows(tried.tried)} would still match"
    if tried.refused:
        return f"{tried.refused} of {formatting.rows(tried.tried)} would stay as they are"
    return f"{formatting.rows(tried.would_apply)} written and rolled back: these rows stop matching"


def show(terminal: Terminal, one: Loaded, looked: Looked, *, sql: bool) -> None:
    """The report of one schedule."""
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="faint", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts(one, looked, time.time()):
        grid.add_row(name, value)
    if looked.tried is not None:
        grid.add_row(
            "tried",
            Text(
                try_sentence(looked.tried), style="bad" if looked.tried.still_stale or looked.tried.refused else "good"
            ),
        )
    terminal.show(Padding(grid, (0, 0, 0, 2)))
    if sql:
        _explain(terminal, looked.explained)
    found = warnings(looked, one)
    for text in found:
        terminal.out.print(Text.assemble(("  ! ", "warn"), text), soft_wrap=True)
    terminal.out.print(Text.assemble(("  verdict  ", "faint"), _verdict(looked, len(found))))


def _verdict(looked: Looked, count: int) -> tuple[str, str]:
    """One line at the end, and its style."""
    if looked.fails:
        return "a sweep would not work: see above", "bad"
    if count:
        return f"{count} warning{'s' * (count > 1)}: read before the first sweep", "warn"
    return "nothing to complain of", "good"


def _explain(terminal: Terminal, explained: Explanation) -> None:
    _sql(terminal, "finds the next rows", explained.plan_sql)
    _sql(terminal, "reads the rows of a job", explained.stale_sql)
    if explained.write_sql:
        _sql(terminal, "writes them", explained.write_sql)
    about = (
        f", about {formatting.rows(explained.rows_estimate)} by its statistics" if explained.rows_estimate > 0 else ""
    )
    terminal.out.print(Text(f"\n  how the database finds them{about}", style="faint"))
    terminal.out.print(Text(indent(explained.plan_text, "    ")), soft_wrap=True)
    terminal.out.print()


def _sql(terminal: Terminal, title: str, sql: str) -> None:
    terminal.out.print(Text(f"\n  {title}", style="faint"))
    sql = laid_out(sql)
    if not terminal.out.is_terminal:
        terminal.out.print(Text(indent(sql, "    ")), soft_wrap=True)
        return
    code = Syntax(sql, "postgresql", theme="ansi_dark", background_color="default", word_wrap=True)
    terminal.out.print(Padding(code, (0, 0, 0, 4)))


def _next(files: Sequence[Path], url: str | None, *, try_write: bool) -> list[tuple[str, str]]:
    names, steps = f"{_named(files)}{url_option(url)}", []
    if not try_write:
        steps.append((f"{program()} check {names} --try-write", "also try the write on 10 rows, rolled back"))
    steps.append((f"{program()} run {names} --once", "one sweep, now"))
    return steps


def _named(files: Sequence[Path]) -> str:
    return " ".join(f"-f {shlex.quote(str(file))}" for file in files)
