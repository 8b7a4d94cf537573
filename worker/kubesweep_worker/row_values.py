"""Convert column values for an effect: to JSON for a webhook, to Python objects for a handler.

Invariant: no conversion loses data silently. A value that cannot be converted is a ``RowError`` that names the column, so
it refuses its own row only.

A json or jsonb column is ``msgspec.Raw``, its text: a webhook sends it with every digit and at any depth, a handler gets it
parsed.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import math
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from kubesweep.errors import RowError
from kubesweep.text import clip

__all__ = ["Interval", "encode_row", "iso_duration", "json_safe", "python_values"]


class Interval(dt.timedelta):
    """A database's interval. As a timedelta, a year has 365 days and a month 30; ``iso`` is exact (ISO 8601)."""

    iso: str

    @classmethod
    def of(cls, span: dt.timedelta, iso: str) -> Interval:
        made = cls(days=span.days, seconds=span.seconds, microseconds=span.microseconds)
        made.iso = iso
        return made


def iso_duration(span: dt.timedelta) -> str:
    """ISO 8601: ``P1DT2H3M4.5S``; a negative duration has its sign on each part."""
    if isinstance(span, Interval):
        return span.iso
    sign = "-" if span < dt.timedelta() else ""
    span = abs(span)
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{span.microseconds:06d}".rstrip("0") if span.microseconds else ""
    days = f"{sign}{span.days}D" if span.days else ""
    parts = [f"{sign}{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M")) if number]
    if seconds or fraction:
        parts.append(f"{sign}{seconds}{fraction}S")
    return "P" + days + ("T" + "".join(parts) if parts else "") if days or parts else "PT0S"


def json_safe(value: Any) -> Any:
    """A database value for JSON: times as ISO 8601, decimals and UUIDs as text, bytes as base64."""
    if value is None or isinstance(value, bool | int | str | msgspec.Raw):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return iso_duration(value)
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Mapping):
        return {str(name): json_safe(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_safe(inner) for inner in value]
    return str(value)


def encode_row(values: Mapping[str, Any]) -> msgspec.Raw:
    """The row as a JSON object. Raises RowError NotJson that names the column."""
    try:
        return msgspec.Raw(msgspec.json.encode(json_safe(values)))
    except Exception as error:
        for name, value in values.items():
            try:
                msgspec.json.encode(json_safe(value))
            except Exception as found:
                raise RowError("NotJson", f'column "{name}" cannot be sent as JSON: {_why(found)}') from found
        raise RowError("NotJson", f"the row cannot be sent as JSON: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "its text is not valid Unicode (the database holds bytes that are not UTF-8)"
    return f"{type(error).__name__}: {clip(str(error), 200)}"


def python_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The row for a handler, JSON parsed. Raises RowError NotReadable that names the column."""
    made = {}
    for name, value in values.items():
        try:
            made[name] = _parsed(value) if isinstance(value, msgspec.Raw | list) else value
        except Exception as error:
            raise RowError("NotReadable", f'the JSON of column "{name}" cannot be parsed: {_why(error)}') from error
    return made


def _parsed(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value), parse_float=_number, parse_int=_whole)
    if isinstance(value, list):
        return [_parsed(inner) for inner in value]
    return value


def _number(text: str) -> float | decimal.Decimal:
    """A float where it represents every digit, otherwise a Decimal."""
    number, exact = float(text), decimal.Decimal(text)
    return number if math.isfinite(number) and decimal.Decimal(repr(number)) == exact else exact


def _whole(text: str) -> int | decimal.Decimal:
    try:
        return int(text)
    except ValueError:  # more digits than Python's limit
        return decimal.Decimal(text)
