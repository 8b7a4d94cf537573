"""The report of ``kubesweep check`` about one schedule. Pure, apart from :func:`show`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import indent
from urllib.parse import urlsplit

from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table as Grid
from rich.text import Text

from kubesweep.api.loading.files import Loaded
from kubesweep.api.plan import Plan
from kubesweep.errors import RowError
from kubesweep.queue.model import plain_key
from kubesweep.ticks import Cron, Ticks, find_zone
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.sql_layout import laid_out
from kubesweep_worker.sources.base import Explanation, Table, Tried

__all__ = ["COUNT_MOST", "Inspection", "facts", "show", "try_sentence", "warnings"]

COUNT_MOST = 100_000  # rows that are counted exactly; above that the report says "more than"
TICKS = 3  # that are shown
REFUSALS = frozenset(
    {401, 403, 404, 407, 410, *range(500, 600)}
)  # answers that a receiver is unlikely to mean for OPTIONS only


@dataclass(frozen=True, slots=True)
class Inspection:
    """What ``check`` found out about one schedule."""

    table: Table
    explained: Explanation
    stale: int | None  # None: the count took longer than spec.source.statementTimeout
    samples: tuple[tuple[str, ...], ...]
    tried: Tried | None = None
    refused: RowError | None = None  # the database refused the tried write
    timed_out: str = ""  # the step that took longer than spec.source.statementTimeout
    receiver_status: int | None = None  # HTTP status of the receiver's answer to --probe

    @property
    def fails(self) -> bool:
        """True where the tried write shows that a sweep would not work."""
        return self.tried is not None and bool(self.tried.still_stale or self.tried.refused)


def facts(one: Loaded, found: Inspection, now: float) -> list[tuple[str, str]]:
    """Pairs of name and value for the head of the report."""
    table = found.table
    if found.stale is None:
        count = "not counted: the count took longer than spec.source.statementTimeout"
    else:
        count = _counted(found.stale)
    keys = ", ".join(plain_key(key) for key in found.samples)
    when = "suspended" if one.suspend else ", ".join(next_ticks(one.ticks, now)) or "never"
    session = ", ".join(f"{name} {value}" for name, value in table.session.items())
    return [
        ("table", f"{table.name}, about {formatting.rows(table.rows_estimate)}, key ({', '.join(table.key)})"),
        *([("session", session)] if session else []),
        *(("children", sentence) for sentence in table.children),
        ("stale now", f"{count}{f', such as {keys}' if keys else ''}"),
        *([("effect", effect)] if (effect := _effect(one.plan, found.receiver_status)) else []),
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


def _effect(plan: Plan, receiver_status: int | None) -> str:
    if plan.effect is None:
        return ""
    if plan.effect.handler:
        return f"handler {plan.effect.handler}, which can be called with (row, ctx)"
    hook = plan.effect.webhook
    if hook is None:
        return ""
    state = (
        f"which answered OPTIONS with {receiver_status}"
        if receiver_status
        else "whose name resolves (--probe sends a request)"
    )
    return f"webhook to {urlsplit(hook.url).hostname}, {state}"


def _counted(stale: int) -> str:
    return f"more than {formatting.count(COUNT_MOST)} rows" if stale > COUNT_MOST else formatting.rows(stale)


def warnings(found: Inspection, one: Loaded | None = None) -> list[str]:
    """What to read before the first sweep. With any warning, the exit code is 1."""
    never = one is not None and not one.suspend and one.ticks.next(time.time()) is None
    texts = ["never: spec.schedule names a time that never comes: correct the day and the month"] if never else []
    return texts + _table_warnings(found) + _write_warnings(found) + _receiver_warnings(found)


def _table_warnings(found: Inspection) -> list[str]:
    texts = [f"{code}: {sentence}" for code, sentence in found.table.warnings]
    advice = found.explained.index_advice
    if advice and not any(code == "no-index" for code, _ in found.table.warnings):
        texts.append(f"no-index: finding stale rows reads the whole table; create the index:  {advice}")
    if found.timed_out:
        texts.append(
            f"StatementTimeout: {found.timed_out} took longer than spec.source.statementTimeout; a sweep then reads the"
            " table page by page along its key, which is slow: create the index, or raise the timeout"
        )
    return texts


def _write_warnings(found: Inspection) -> list[str]:
    texts = []
    if found.refused is not None:
        texts.append(
            "refused: the database refuses the write of a row, which a sweep would keep as a dead letter: "
            f"{found.refused.error}: {found.refused}"
        )
    if found.tried is not None and found.tried.still_stale:
        texts.append(
            f"NeverEnds: {formatting.rows(found.tried.still_stale)} still match after the write, so the sweep would never"
            " end; let spec.write change a column of spec.match"
        )
    if found.tried is not None and found.tried.refused:
        texts.append(f"WriteRefused: {formatting.rows(found.tried.refused)} stay unchanged. Reason: {found.tried.why}")
    return texts


def _receiver_warnings(found: Inspection) -> list[str]:
    if found.receiver_status not in REFUSALS:
        return []
    return [
        f"receiver: it answered OPTIONS with {found.receiver_status}; a POST may succeed, but check its URL and its"
        " headers (headersFrom)"
    ]


def try_sentence(tried: Tried) -> str:
    """What the write that was rolled back showed."""
    if not tried.tried:
        return "no row is stale now, so there was nothing to try"
    if tried.still_stale:
        return f"{tried.still_stale} of {formatting.rows(tried.tried)} would still match"
    if tried.refused:
        return f"{tried.refused} of {formatting.rows(tried.tried)} would stay unchanged"
    return f"{formatting.rows(tried.would_apply)} written and rolled back: these rows stop matching"


def show(terminal: Terminal, one: Loaded, found: Inspection, *, sql: bool) -> None:
    """Print the report."""
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="faint", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts(one, found, time.time()):
        grid.add_row(name, value)
    if found.tried is not None:
        grid.add_row("tried", Text(try_sentence(found.tried), style="bad" if found.fails else "good"))
    terminal.show(Padding(grid, (0, 0, 0, 2)))
    if sql:
        _explain(terminal, found.explained)
    texts = warnings(found, one)
    for text in texts:
        terminal.out.print(Text.assemble(("  ! ", "warn"), text), soft_wrap=True)
    terminal.out.print(Text.assemble(("  result  ", "faint"), _result(found, len(texts))))


def _result(found: Inspection, count: int) -> tuple[str, str]:
    """The last line, and its style."""
    if found.fails:
        return "a sweep would not work: see above", "bad"
    if count:
        return f"{count} warning{'s' * (count > 1)}: read before the first sweep", "warn"
    return "no problem found", "good"


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
