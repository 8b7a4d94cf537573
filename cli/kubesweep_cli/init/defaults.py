"""What ``kubesweep init`` proposes for a table, judged by the names, types and values of its columns. Pure."""

from __future__ import annotations

import re

from kubesweep.durations import parse_duration
from kubesweep_cli.init.answers import Action, Condition
from kubesweep_worker.sources.facts import LISTED, ColumnFacts, TableFacts

__all__ = [
    "action_text",
    "age_text",
    "name_text",
    "period_text",
    "stale_values",
    "status_column",
    "time_columns",
    "unread_times",
]

# The first pattern that fits a name decides how likely the column says when a row becomes stale.
_MEANINGS = (
    re.compile(r"expir|valid_?until|deadline|due", re.IGNORECASE),
    re.compile(r"updat|modif|chang|last|seen|heartbeat|activ|touch|visit", re.IGNORECASE),
    re.compile(r"finish|complet|clos|end|done|revok|delet|cancel", re.IGNORECASE),
    re.compile(r"creat|insert|start|add|join|date|time|at$", re.IGNORECASE),
)
_EXPIRES = 0
# Names of columns that are meant as times, whatever is in them.
_TIME = re.compile(
    r"(?i:_(?:at|on|date|time|timestamp|ts|until)$|^(?:date|time|timestamp|created|updated|modified|expir\w*)$)|[a-z](?:At|On|Date|Time|Until)$"
)
# Values of rows that nobody finished, and values for rows that a sweep finished, with the verb for its name.
_OPEN = (
    "pending", "progress", "in_progress", "open", "idle", "new", "queued", "running", "active", "processing", "started", "draft", "waiting",
)  # fmt: skip
_CLOSED = {
    "expired": "expire", "abandoned": "abandon", "timed_out": "time-out", "timeout": "time-out", "closed": "close", "inactive": "deactivate",
    "archived": "archive", "cancelled": "cancel", "canceled": "cancel", "failed": "fail",
}  # fmt: skip
_MOST_NAME = 45


def _meaning(column: ColumnFacts) -> int:
    found = (number for number, pattern in enumerate(_MEANINGS) if pattern.search(column.name))
    return next(found, len(_MEANINGS))


def time_columns(table: TableFacts) -> list[ColumnFacts]:
    """The columns with times, the most likely one first. NULL is never stale, so a NOT NULL column is preferred, and a number is a
    time by its size only."""
    times = [column for column in table.columns.values() if column.moment]
    return sorted(
        times, key=lambda column: _meaning(column) + 0.5 * (not column.not_null) + 0.25 * (column.moment == "number")
    )


def unread_times(table: TableFacts) -> list[ColumnFacts]:
    """Columns that are named like times, and whose type or values are none, such as text like 31/12/2025."""
    return [column for column in table.columns.values() if not column.moment and _TIME.search(column.name)]


def age_text(column: ColumnFacts) -> str:
    """The age from which a row is stale: none where the column says when it expires."""
    if _meaning(column) == _EXPIRES:
        return "1d" if column.moment == "date" else "0"
    return "30d"


def status_column(table: TableFacts) -> ColumnFacts | None:
    """The column with the state of a row: by its name, or because the database allows a few values only."""
    found = [
        column
        for column in table.columns.values()
        if not column.moment and column.values and (column.choices or LISTED.search(column.name))
    ]
    return min(
        found, key=lambda column: (not LISTED.search(column.name), not column.choices, len(column.name)), default=None
    )


def stale_values(column: ColumnFacts) -> tuple[str, ...]:
    """The values of rows that are not finished."""
    return tuple(value for value in column.values if value.lower() in _OPEN)


def action_text(table: TableFacts, where: tuple[Condition, ...]) -> str:
    """Set the status where it has a value for finished rows, else delete."""
    for condition in where:
        column = table.columns[condition.column]
        by_name = {value.lower(): value for value in column.values if value not in condition.values}
        closed = next((by_name[name] for name in _CLOSED if name in by_name), None)
        if closed and column.writable and condition.values:
            return f"{column.name}={closed}"
    return "delete"


def period_text(age: str) -> str:
    """A sweep each night is enough for old rows."""
    seconds = parse_duration(age) if age else 0.0
    if seconds < 86_400:
        return "5m"
    return "1h" if seconds < 7 * 86_400 else "0 4 * * *"


def name_text(table: str, action: Action) -> str:
    """A verb and the table, as a DNS label."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", table).lower()
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "rows"
    return f"{_verb(action)}-{slug}"[:_MOST_NAME].rstrip("-")


def _verb(action: Action) -> str:
    if action.write is None:
        return "process"
    if action.write.archive:
        return "archive"
    return next((_CLOSED.get(value.lower(), "update") for _, value in action.write.set), "delete")
