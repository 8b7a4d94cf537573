"""A spec in words: when it fires, which rows are stale, what happens to them, and its limits. Pure.

The spec may be of a later version. What this version has no words for is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kubesweep.quantities import count, rows
from kubesweep.queue.model import ACTIVE, LOCK_WAITS, OLDEST_XMIN, QUERY, REPLAY_LAG, VACUUM
from kubesweep.ticks import MACROS
from kubesweep_console.documents import items, mapping, number, text

__all__ = ["SIGNALS", "Words", "signals", "table_of", "words_of"]

SIGNALS = {
    REPLAY_LAG: "replay lag",
    OLDEST_XMIN: "oldest transaction",
    LOCK_WAITS: "sessions that wait for locks",
    VACUUM: "autovacuum on the table",
    QUERY: "value of health.query",
    ACTIVE: "other sessions that use the database",
}


@dataclass(frozen=True, slots=True)
class Words:
    """One line of the description. ``lines`` has several where a list is described."""

    label: str
    lines: tuple[str, ...]


def words_of(spec: Mapping[str, Any]) -> tuple[Words, ...]:
    """Empty for a schedule whose spec is not known."""
    if not spec:
        return ()
    found = [
        Words("fires", (_fires(spec),)),
        Words("sweeps", (f"the table {table_of(spec)}{_key(spec)}",)),
        Words("rows in which", tuple(_condition(mapping(each)) for each in items(spec.get("match")))),
        Words("calls", tuple(_effect(mapping(spec.get("effect"))))),
        Words("then", tuple(_write(mapping(spec.get("write"))))),
        Words("limits", tuple(_limits(spec))),
        Words("a row that fails", tuple(_retry(spec))),
        Words("slows down", tuple(signals(spec))),
    ]
    return tuple(each for each in found if each.lines)


def table_of(spec: Mapping[str, Any]) -> str:
    source = mapping(spec.get("source"))
    schema = text(source.get("schema"))
    return f"{schema}.{text(source.get('table'))}" if schema else text(source.get("table"))


def _key(spec: Mapping[str, Any]) -> str:
    key = [text(each) for each in items(mapping(spec.get("source")).get("key"))]
    return f", by the key ({', '.join(key)})" if key else ""


def _fires(spec: Mapping[str, Any]) -> str:
    dry = ", as a dry run that changes nothing" if spec.get("mode") == "DryRun" else ""
    if spec.get("suspend") is True:
        return f"never while it is suspended{dry}"
    if every := text(spec.get("every")):
        return f"every {every}{dry}"
    expression = text(spec.get("schedule"))
    spoken = _spoken(expression)
    when = f"{spoken} ({expression})" if spoken else f"at {expression}"
    return f"{when} in the zone {text(spec.get('timeZone')) or 'Etc/UTC'}{dry}"


_EVERY = re.compile(r"\*/([0-9]+) \* \* \* \*")
_AT = re.compile(r"([0-9]{1,2}) ([0-9]{1,2}|\*) \* \* (\*|1-5)")


def _spoken(expression: str) -> str:
    """Words for the usual cron expressions; empty for others."""
    fields = MACROS.get(expression, " ".join(expression.split()))
    if fields == "* * * * *":
        return "every minute"
    if (found := _EVERY.fullmatch(fields)) and 60 % int(found[1] or 1) == 0:
        return f"every {int(found[1])} minutes"
    if found := _AT.fullmatch(fields):
        minute, hour, days = int(found[1]), found[2], "from Monday to Friday" if found[3] == "1-5" else "every day"
        return f"every hour at minute {minute}" if hour == "*" else f"{days} at {int(hour):02}:{minute:02}"
    return ""


_COMPARED = {
    "before": "lies before",
    "after": "lies after",
    "lessThan": "is less than",
    "greaterThan": "is greater than",
}


def _condition(match: Mapping[str, Any]) -> str:
    column = text(match.get("column"))
    if sql := text(match.get("sql")):
        return sql
    if values := items(match.get("in")):
        return f"{column} is {_any(values)}"
    if values := items(match.get("notIn")):
        return f"{column} is not {_any(values)}"
    if "isNull" in match:
        return f"{column} is {'NULL' if match.get('isNull') else 'not NULL'}"
    unit = f", counted in {text(match.get('unit'))} since 1970" if text(match.get("unit")) else ""
    for name, verb in _COMPARED.items():
        if match.get(name) is not None:
            return f"{column} {verb} {match.get(name)}{unit}"
    return column


def _any(values: tuple[Any, ...]) -> str:
    shown = [str(each) for each in values[:5]]
    more = [f"one of {len(values) - 5} more"] if len(values) > 5 else []
    return " or ".join([*shown, *more])


def _effect(effect: Mapping[str, Any]) -> Iterator[str]:
    if handler := text(effect.get("handler")):
        yield f"the function {handler}"
    hook = mapping(effect.get("webhook"))
    if url := text(hook.get("url")):
        many = number(hook.get("batchRows"))
        yield f"the webhook at {_host(url)}" + (f", with up to {many} rows a request" if many > 1 else "")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


def _write(write: Mapping[str, Any]) -> Iterator[str]:
    for each in map(mapping, items(write.get("update"))):
        column = text(each.get("column"))
        yield f"sets {column} to {each['value']}" if "value" in each else f"sets {column} to {text(each.get('sql'))}"
    if "delete" in write:
        archive = mapping(mapping(write.get("delete")).get("archiveTo"))
        table = ".".join(filter(None, (text(archive.get("schema")), text(archive.get("table")))))
        yield f"copies the row to {table} and deletes it" if table else "deletes the row"


def _limits(spec: Mapping[str, Any]) -> Iterator[str]:
    limits = mapping(spec.get("limits"))
    if rate := number(limits.get("rowsPerSecond")):
        yield f"at most {rows(rate)} a second"
    if most := number(limits.get("maxRowsPerSweep")):
        yield f"at most {rows(most)} in one sweep"
    above = mapping(limits.get("approveAbove"))
    if "rows" in above:
        yield f"more than {rows(number(above.get('rows')))} need your approval"
    if "share" in above:
        yield f"more than {count(number(above.get('share')))} % of the table need your approval"
    if "timesMedian" in above:
        yield f"more than {count(number(above.get('timesMedian')))} times the usual rows need your approval"
    if batch := number(limits.get("batchRows")):
        yield f"at most {rows(batch)} in one transaction"
    if late := number(spec.get("startingDeadlineSeconds")):
        yield f"a tick that is more than {count(late)} s late is missed"


def _retry(spec: Mapping[str, Any]) -> Iterator[str]:
    retry, dead = mapping(spec.get("retry")), mapping(spec.get("deadLetters"))
    if attempts := number(retry.get("maxAttempts")):
        kept = f", kept for {text(dead.get('retention'))}" if text(dead.get("retention")) else ""
        yield f"is tried {count(attempts)} times, then it is a dead letter{kept}"
    if above := number(dead.get("haltAbove")):
        yield f"the sweep halts if more than {rows(above)} fail"


def signals(spec: Mapping[str, Any]) -> Iterator[str]:
    """The limits of ``source.health``."""
    health = mapping(mapping(spec.get("source")).get("health"))
    if health.get("auto") is True:
        yield "by the usual signals: replay lag 2s, oldest transaction 10m, 5 sessions that wait for locks"
        if not spec.get("effect"):
            yield "to a tenth while other sessions use the database"
    for name in (REPLAY_LAG, OLDEST_XMIN, LOCK_WAITS):
        if health.get(name) is not None:
            yield f"at half of {SIGNALS[name]} {health.get(name)}, and pauses at it"
    if query := mapping(health.get("query")):
        yield f"at half of {query.get('limit')} as the value of {text(query.get('sql'))}, and pauses at it"
    if health.get("pauseOnVacuum") is True:
        yield "and pauses while an autovacuum works on the table"
