"""Plan -> the condition that makes a row stale, as SQL text over the alias ``t``. Pure: the same text everywhere.

Values are literals, not parameters: the planner can then prove a partial index, ``check`` shows exactly what runs, and
a ``%`` or ``$1`` in a user's ``sql`` stays what it is. Three values of SQL stay three: NULL in a column is not stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from kubesweep.api.plan import Assignment, Match, Plan
from kubesweep.api.sqltext import substitute_cutoff


def quote_name(name: str) -> str:
    """An identifier, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A string literal of standard SQL. Only SQLite stores U+0000, which no literal can hold."""
    literals = ["'" + part.replace("'", "''") + "'" for part in text.split("\0")]
    return literals[0] if len(literals) == 1 else f"({' || char(0) || '.join(literals)})"


def quote_pg(text: str) -> str:
    """A string literal that means the same whether standard_conforming_strings is on or off."""
    if "\\" not in text:
        return quote_text(text)
    return " E" + quote_text(text.replace("\\", "\\\\"))


def column(name: str) -> str:
    return f"t.{quote_name(name)}"


def parenthesised(sql: str, literal: str) -> str:
    # Lines of its own: a comment at the end of the user's text ends there.
    return f"(\n{substitute_cutoff(sql, literal)}\n)"


class Dialect(Protocol):
    """What differs between databases."""

    def value(self, name: str, text: str) -> str:
        """The literal of a value of column ``name``."""
        ...

    def before(self, name: str, cutoff: str, offset: float) -> str:
        """``column < cutoff - offset`` with nothing but a constant on the right."""
        ...

    def expression(self, sql: str, cutoff: str) -> str:
        """A user's expression in parentheses, ``:cutoff`` filled in."""
        ...


@dataclass(frozen=True, slots=True)
class PostgresDialect:
    """``types`` are the columns' own types without length (a cast to varchar(3) would cut silently)."""

    types: Mapping[str, str]
    zone: str = "UTC"

    def value(self, name: str, text: str) -> str:
        return f"{quote_pg(text)}::{self.types[name]}"

    def before(self, name: str, cutoff: str, offset: float) -> str:
        instant = f"{quote_pg(cutoff)}::timestamptz"
        if offset:
            instant = f"{instant} - '{offset:.6f} seconds'::interval"
        if self.types[name] == "timestamp with time zone":
            return f"{column(name)} < {instant}"
        bound = f"{column(name)} < ({instant}) AT TIME ZONE {quote_pg(self.zone)}"
        if self.zone == "UTC":
            return bound
        # An index serves the bound. Where the zone's clock shows a time twice, PostgreSQL reads the later one.
        return f"{bound} AND {column(name)}::timestamp AT TIME ZONE {quote_pg(self.zone)} < {instant}"

    def expression(self, sql: str, cutoff: str) -> str:
        return parenthesised(sql, f"{quote_pg(cutoff)}::timestamptz")


def condition(match: Match, dialect: Dialect, cutoff: str) -> str:
    if match.op == "in":
        return f"{column(match.column)} IN ({', '.join(dialect.value(match.column, v) for v in match.values)})"
    if match.op == "before":
        return dialect.before(match.column, cutoff, match.offset)
    if match.op == "isNull":
        return f"{column(match.column)} IS {'' if match.is_null else 'NOT '}NULL"
    return dialect.expression(match.sql, cutoff)


def stale(matches: tuple[Match, ...], dialect: Dialect, cutoff: str) -> str:
    """All conditions, ANDed."""
    return " AND ".join(condition(match, dialect, cutoff) for match in matches)


def stays_stale(plan: Plan) -> bool:
    """Whether the update's own literals leave every condition of match true, so that no row would ever stop matching. Only what is
    certain counts: an expression, or a condition in sql, may do what it likes."""
    update = {one.column: one for one in plan.write.update} if plan.write is not None else {}
    return bool(update) and all(_stays(match, update) for match in plan.match)


def _stays(match: Match, update: Mapping[str, Assignment]) -> bool:
    one = update.get(match.column)
    if match.op == "sql" or (one is not None and (one.sql is not None or match.op == "before")):
        return False
    if one is None:
        return True
    if match.op == "in":
        return one.value in match.values
    return (one.value is None) is match.is_null


def time_columns(matches: tuple[Match, ...]) -> tuple[str, ...]:
    """The match's time columns in order, each once."""
    return tuple(dict.fromkeys(match.column for match in matches if match.op == "before"))


def stamp_columns(plan: Plan) -> tuple[str, ...]:
    """The columns whose values tell one staleness of a row from the next: they are part of the Idempotency-Key."""
    named = plan.effect.key if plan.effect is not None else ()
    return named or time_columns(plan.match)


def one_key_for_ever(plan: Plan) -> Iterator[tuple[str, str]]:
    """A warning where nothing tells them apart, and the write leaves a row that can turn stale again."""
    if plan.effect is None or stamp_columns(plan) or (plan.write is not None and plan.write.deletes):
        return
    yield (
        "idempotency-key",
        "nothing tells a row's second staleness from its first, so both have one Idempotency-Key and a receiver that "
        "remembers keys drops the second: name a column that changes in between in spec.effect.key",
    )


def used_columns(matches: tuple[Match, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(match.column for match in matches if match.column))
