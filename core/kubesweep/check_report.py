"""A check's document as text: the same facts and warnings in a pod's log, and on a terminal, which adds colours. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import indent

from kubesweep.check_document import CheckDocument, CheckedEffect, CheckResult, StaleCount, TriedWrite
from kubesweep.quantities import rows
from kubesweep.sql_layout import laid_out
from kubesweep.text import printable
from kubesweep.ticks import find_zone
from kubesweep.timestamps import parse_time

__all__ = [
    "error_text",
    "facts",
    "found_by",
    "plain_report",
    "result_text",
    "statements",
    "tried_text",
    "warning_texts",
]


def facts(document: CheckDocument) -> list[tuple[str, str]]:
    """Pairs of name and value for the head of the report."""
    found: list[tuple[str, str]] = []
    if (table := document.table) is not None:
        found.append(("table", f"{table.name}, about {rows(table.rows_estimate)}, key ({', '.join(table.key)})"))
        if table.session:
            found.append(("session", ", ".join(f"{name} {value}" for name, value in table.session.items())))
        found += [("children", sentence) for sentence in table.children]
        found.append(("stale now", _stale(document.stale)))
    if document.effect is not None:
        found.append(("effect", _effect(document.effect)))
    if document.next_ticks is not None:
        found.append(("next ticks", _ticks(document)))
    return found


def _stale(stale: StaleCount | None) -> str:
    if stale is None:
        return "not counted: the count took longer than spec.source.statementTimeout"
    such_as = f", such as {', '.join(stale.sample_keys)}" if stale.sample_keys else ""
    return f"{'more than ' if stale.more else ''}{rows(stale.rows)}{such_as}"


def _effect(effect: CheckedEffect) -> str:
    if effect.handler is not None:
        return f"handler {effect.handler}, which can be called with (row, ctx)"
    answered = f"which answered OPTIONS with {effect.status}"
    state = answered if effect.status is not None else "whose name resolves (--probe sends a request)"
    return f"webhook to {effect.host}, {state}"


def _ticks(document: CheckDocument) -> str:
    """With dates, in the zone of the schedule."""
    if document.suspended:
        return "suspended"
    zone = find_zone(document.time_zone) if document.time_zone else UTC
    moments = [parse_time(text) for text in document.next_ticks or ()]
    times = [datetime.fromtimestamp(moment, zone) for moment in moments if moment is not None]
    return ", ".join(time.strftime("%a %Y-%m-%d %H:%M:%S %Z") for time in times) or "never"


def warning_texts(document: CheckDocument) -> list[str]:
    """What to read before the first sweep."""
    return [f"{each.code}: {each.message}" for each in document.warnings]


def tried_text(tried: TriedWrite) -> str:
    """What the write that was rolled back showed."""
    if not tried.rows:
        return "no row is stale now, so there was nothing to try"
    if tried.still_stale:
        return f"{tried.still_stale} of {rows(tried.rows)} would still match"
    if tried.refused:
        return f"{tried.refused} of {rows(tried.rows)} would stay unchanged"
    return f"{rows(tried.would_apply)} written and rolled back: these rows stop matching"


def result_text(document: CheckDocument) -> str:
    """The last line."""
    if document.error is not None:
        return error_text(document)
    if document.fails:
        return "a sweep would not work: see above"
    count = len(document.warnings)
    if document.result is CheckResult.PASSED:
        return "no problem found"
    return f"{count} warning{'s' * (count > 1)}: read before the first sweep"


def error_text(document: CheckDocument) -> str:
    """Why the check could not be completed; empty if it was."""
    if document.error is None:
        return ""
    return ": ".join(part for part in (document.error.reason, document.error.message) if part)


def statements(document: CheckDocument) -> list[tuple[str, str]]:
    """The exact SQL of a sweep, each statement with its title."""
    if (sql := document.statements) is None:
        return []
    found = [("finds the next rows", sql.plan), ("reads the rows of a job", sql.stale)]
    found += [("writes them", sql.write)] if sql.write else []
    return [(title, laid_out(text)) for title, text in found]


def found_by(document: CheckDocument) -> str:
    """The title of the query plan."""
    sql = document.statements
    about = f", about {rows(sql.rows_estimate)} by its statistics" if sql is not None and sql.rows_estimate > 0 else ""
    return f"how the database finds them{about}"


def plain_report(document: CheckDocument, *, sql: bool = False) -> str:
    """The report as lines without colours. ``sql``: with the statements and the query plan."""
    return printable("\n".join(_lines(document, sql)))


def _lines(document: CheckDocument, sql: bool) -> Iterator[str]:
    yield "  ".join(part for part in (document.name, document.origin, document.mode) if part)
    pairs = facts(document)
    if document.tried is not None:
        pairs.append(("tried", tried_text(document.tried)))
    width = max((len(name) for name, _ in pairs), default=0)
    yield from (f"  {name:{width}}  {value}" for name, value in pairs)
    if sql and document.statements is not None:
        for title, text in statements(document):
            yield f"\n  {title}\n{indent(text, '    ')}"
        yield f"\n  {found_by(document)}\n{indent(document.statements.query_plan, '    ')}\n"
    yield from (f"  ! {text}" for text in warning_texts(document))
    yield f"  result  {result_text(document)}"
