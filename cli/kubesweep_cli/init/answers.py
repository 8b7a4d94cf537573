"""The answers of ``kubesweep init`` and how their texts are read. Pure; each ``parse_`` raises ValueError that says what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kubesweep.durations import parse_duration
from kubesweep.ticks import Cron

__all__ = [
    "NONE",
    "Action",
    "Answers",
    "Condition",
    "Period",
    "Write",
    "parse_action",
    "parse_age",
    "parse_condition",
    "parse_name",
    "parse_period",
    "parse_sets",
    "parse_table",
]

NONE = "-"  # leaves a condition out
_NAME = r'"(?:[^"]|"")+"|[^".]+'
_DNS = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NULL = re.compile(r"(.+?)\s+is\s+(not\s+)?null", re.IGNORECASE)
_DAY = 86_400
_SHORTEST = 5


@dataclass(frozen=True, slots=True)
class Condition:
    """A column with one of these values, or (not) NULL."""

    column: str
    values: tuple[str, ...] = ()
    is_null: bool | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """What happens to a row: ``set`` has columns with values, else it is deleted, with a copy in ``archive`` (schema, table)."""

    set: tuple[tuple[str, str], ...] = ()
    archive: tuple[str | None, str] | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """An effect and a write, each optional; not both are missing, and only a handler has no write."""

    write: Write | None = None
    webhook: str = ""
    handler: str = ""

    @property
    def has_effect(self) -> bool:
        return bool(self.webhook or self.handler)


@dataclass(frozen=True, slots=True)
class Period:
    field: Literal["every", "schedule"]
    text: str


@dataclass(frozen=True, slots=True)
class Answers:
    time: str | None  # a column; None: age does not matter
    age: str  # a duration; empty: now
    time_zone: str  # in which the times are written, if they have no zone; empty: not asked
    where: tuple[Condition, ...]
    action: Action
    period: Period
    name: str
    accept_children: bool = False


def parse_table(text: str) -> tuple[str | None, str]:
    """Schema and table of ``carts``, ``public.carts`` or ``"App"."Carts"``, as the database spells them."""
    parts = re.findall(_NAME, text)
    if not parts or len(parts) > 2 or ".".join(parts) != text:
        raise ValueError(f'"{text}" is not TABLE or SCHEMA.TABLE; put a name with a dot into double quotes')
    names = [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts]
    return (names[0] if len(names) == 2 else None), names[-1]


def parse_age(text: str) -> str:
    """A duration; empty for ``0`` and ``now``."""
    text = text.strip().removeprefix("now-")
    if text in ("0", "now"):
        return ""
    return text if parse_duration(text) else ""


def parse_period(text: str) -> Period:
    """A duration, or a cron expression."""
    text = text.strip().removeprefix("every ")
    if " " in text or text.startswith("@"):
        Cron(text)
        return Period("schedule", text)
    if not _SHORTEST <= parse_duration(text) <= _DAY:
        raise ValueError(f'"{text}" is not between 5s and 24h: for a longer period write cron, such as "0 4 * * 0"')
    return Period("every", text)


def parse_condition(text: str) -> Condition:
    if found := _NULL.fullmatch(text.strip()):
        return Condition(found[1].strip(), is_null=not found[2])
    column, equals, values = (part.strip() for part in text.partition("="))
    listed = tuple(value.strip() for value in values.split(",") if value.strip())
    if not column or not equals or not listed:
        raise ValueError(f'"{text}" is not COLUMN=VALUE[,VALUE...], "COLUMN is null" or "COLUMN is not null"')
    return Condition(column, tuple(dict.fromkeys(listed)))


def parse_sets(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """``COLUMN=VALUE``, or several, separated by commas."""
    pairs = []
    for text in texts:
        for part in re.split(r",\s*(?=[^,=]+=)", text):
            column, equals, value = (piece.strip() for piece in part.partition("="))
            if not column or not equals:
                raise ValueError(f'"{part}" is not COLUMN=VALUE, such as status=closed')
            pairs.append((column, value))
    if len({column for column, _ in pairs}) < len(pairs):
        raise ValueError("a column is set twice")
    return tuple(pairs)


def parse_action(text: str) -> Action:
    verb, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if verb == "delete" and not rest:
        return Action(Write())
    if verb == "archive" and rest:
        return Action(Write(archive=parse_table(rest)))
    if verb == "webhook" and rest:
        return Action(webhook=rest)
    if verb == "handler" and rest:
        return Action(handler=rest)
    if "=" in text:
        return Action(Write(parse_sets([text])))
    raise ValueError("write COLUMN=VALUE, delete, archive TABLE, webhook URL or handler MODULE:FUNCTION")


def parse_name(text: str) -> str:
    if len(text) > 45 or not _DNS.fullmatch(text):
        raise ValueError(
            f'"{text}" is not a name of Kubernetes: a-z, 0-9 and -, starting and ending with a letter or digit, at most 45 characters'
        )
    return text
