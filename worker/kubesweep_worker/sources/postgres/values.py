"""Convert PostgreSQL's values to Python: to the driver's types, or to the database's text where that fails.

A value that Python cannot represent must not affect other rows: a result that the driver cannot convert as a whole is
converted value by value, and a value that fails remains text.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import psycopg
from psycopg.abc import Loader as AnyLoader
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.datetime import (
    DateLoader,
    IntervalLoader,
    TimeLoader,
    TimestampLoader,
    TimestamptzLoader,
    TimetzLoader,
)

from kubesweep_worker.row_values import Interval

Cursor = psycopg.AsyncRawCursor[tuple[Any, ...]]


def _forgiving(base: type[Any]) -> type[Any]:
    """A loader that returns the database's text for values that Python cannot represent: infinity, year 10000, 24:00."""

    class Forgiving(base):  # type: ignore[misc]
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except (psycopg.DataError, OverflowError):
                return bytes(data).decode()

    return Forgiving


class _Json(Loader):
    """Returns the text after a check that it is UTF-8; see kubesweep_worker.row_values."""

    def load(self, data: Any) -> msgspec.Raw:
        text = bytes(data)
        text.decode()
        return msgspec.Raw(text)


_INTERVAL = re.compile(
    r"(?:([+-]?\d+) years?)? ?(?:([+-]?\d+) mons?)? ?(?:([+-]?\d+) days?)? ?(?:([+-]?)(\d+):(\d\d):(\d\d(?:\.\d+)?))?"
)


def iso_interval(text: str) -> str | None:
    """``1 year 2 mons 04:05:06`` as ``P1Y2MT4H5M6S``; None where the text is not a finite interval of that style."""
    found = _INTERVAL.fullmatch(text)
    if not text or found is None:
        return None
    years, months, days, sign, hours, minutes, seconds = found.groups()
    sign = "-" if sign == "-" else ""
    date = "".join(f"{int(n)}{unit}" for n, unit in ((years, "Y"), (months, "M"), (days, "D")) if n and int(n))
    time = "".join(f"{sign}{int(n)}{unit}" for n, unit in ((hours, "H"), (minutes, "M")) if n and int(n))
    if seconds and float(seconds):
        whole, _, fraction = seconds.partition(".")
        fraction = fraction.rstrip("0")
        time += f"{sign}{int(whole)}{'.' if fraction else ''}{fraction}S"
    return f"P{date}{'T' if time else ''}{time}" if date or time else "PT0S"


class _Interval(IntervalLoader):
    def load(self, data: Any) -> Any:
        text = bytes(data).decode()
        iso = iso_interval(text)
        if iso is None:
            return text
        try:
            return Interval.of(super().load(data), iso)
        except (psycopg.DataError, OverflowError):
            return iso


LOADERS: dict[str, type[AnyLoader]] = {
    "date": _forgiving(DateLoader),
    "timestamp": _forgiving(TimestampLoader),
    "timestamptz": _forgiving(TimestamptzLoader),
    "time": _forgiving(TimeLoader),
    "timetz": _forgiving(TimetzLoader),
    "interval": _Interval,
    "json": _Json,
    "jsonb": _Json,
}


def query_plan(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    """The plan in the result of EXPLAIN (FORMAT JSON)."""
    plan: dict[str, Any] = msgspec.json.decode(rows[0][0])[0]["Plan"]
    return plan


async def fetch(cursor: Cursor) -> list[tuple[Any, ...]]:
    """All rows of the cursor's current result."""
    try:
        return await cursor.fetchall()
    except (psycopg.DataError, ValueError, ArithmeticError, RecursionError):
        return _one_by_one(cursor)


def _one_by_one(cursor: Cursor) -> list[tuple[Any, ...]]:
    result = cursor.pgresult
    assert result is not None
    find = psycopg.adapt.Transformer.from_context(cursor).get_loader
    loaders = [find(result.ftype(column), Format.TEXT) for column in range(result.nfields)]
    return [
        tuple(_load(loader, result.get_value(row, column)) for column, loader in enumerate(loaders))
        for row in range(result.ntuples)
    ]


def _load(loader: AnyLoader, data: bytes | None) -> Any:
    if data is None:
        return None
    try:
        return loader.load(data)
    except (psycopg.DataError, ValueError, ArithmeticError, RecursionError):
        return data.decode("utf-8", "surrogateescape")
