"""The conditions of a plan as SQL text over the alias ``t``: a row for which all are true is stale. Pure.

Values are literals, not parameters: so the query planner can use a partial index, ``check`` shows exactly what runs, and a
``%`` or ``$1`` in a user's ``sql`` keeps its meaning. A condition that is NULL is not true, so its row is not stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from kubesweep.api.models.sql_text import substitute_cutoff
from kubesweep.api.plan import Assignment, Match, Plan
from kubesweep_worker.sources.epochs import unit_of


def quote_name(name: str) -> str:
    """A quoted identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A string literal of standard SQL. Only SQLite stores U+0000, which no literal can hold."""
    literals = ["'" + part.replace("'", "''") + "'" for part in text.split("\0")]
    return literals[0] if len(literals) == 1 else f"({' || char(0) || '.join(literals)})"


def column(name: str) -> str:
    return f"t.{quote_name(name)}"


def parenthesised(sql: str, literal: str) -> str:
    # On lines of its own, so that a comment at the end of the user's text ends there.
    return f"(\n{substitute_cutoff(sql, literal)}\n)"


SIGNS = {"before": "<", "after": ">", "lessThan": "<", "greaterThan": ">"}


class Dialect(Protocol):
    """The SQL that differs between databases: postgres/dialect.py, and SqliteDialect in sqlite/statements.py."""

    def value(self, name: str, text: str) -> str:
        """The literal of a value of column ``name``."""
        ...

    def values(self, name: str, texts: Sequence[str]) -> str:
        """The literals of several values of column ``name``."""
        ...

    def when(self, match: Match, cutoff: str) -> str:
        """``column < cutoff - offset``, or ``>``, with nothing but a constant on the right."""
        ...

    def compare(self, match: Match) -> str:
        """``column < value``, or ``>``, among values of the column's own kind."""
        ...

    def expression(self, sql: str, cutoff: str) -> str:
        """A user's expression in parentheses, ``:cutoff`` filled in."""
        ...


def condition(match: Match, dialect: Dialect, cutoff: str) -> str:
    if match.op in ("in", "notIn"):
        some = "IN" if match.op == "in" else "NOT IN"
        return f"{column(match.column)} {some} ({dialect.values(match.column, match.values)})"
    if match.op in ("before", "after"):
        return dialect.when(match, cutoff)
    if match.op in ("lessThan", "greaterThan"):
        return dialect.compare(match)
    if match.op == "isNull":
        return f"{column(match.column)} IS {'' if match.is_null else 'NOT '}NULL"
    return dialect.expression(match.sql, cutoff)


def stale(matches: tuple[Match, ...], dialect: Dialect, cutoff: str) -> str:
    """All conditions, ANDed."""
    return " AND ".join(condition(match, dialect, cutoff) for match in matches)


def stays_stale(plan: Plan) -> bool:
    """Whether the update's literals leave every condition of match true, so that no row would stop matching. Expressions and
    conditions in sql may do anything, so with them the answer is False."""
    update = {one.column: one for one in plan.write.update} if plan.write is not None else {}
    return bool(update) and all(_stays(match, update) for match in plan.match)


def _stays(match: Match, update: Mapping[str, Assignment]) -> bool:
    one = update.get(match.column)
    if one is None:
        return match.op != "sql"
    if one.sql is not None:
        return False
    if match.op == "in":
        return one.value in match.values
    if match.op == "notIn":
        return one.value is not None and one.value not in match.values
    return match.op == "isNull" and (one.value is None) is match.is_null


def time_conditions(matches: tuple[Match, ...]) -> tuple[Match, ...]:
    """The conditions that time alone makes true, in order: a row becomes stale when it meets the last of them."""
    return tuple(match for match in matches if match.op == "before")


def time_columns(matches: tuple[Match, ...]) -> tuple[str, ...]:
    """The columns of the conditions with ``before``, in order, each once."""
    return tuple(dict.fromkeys(match.column for match in time_conditions(matches)))


def stamp_columns(plan: Plan) -> tuple[str, ...]:
    """The columns whose values tell one staleness of a row from the next one; they are part of the Idempotency-Key."""
    named = plan.effect.key if plan.effect is not None else ()
    return named or time_columns(plan.match)


def same_key_warnings(plan: Plan) -> Iterator[tuple[str, str]]:
    """A warning where no column tells them apart, and the write leaves a row that can turn stale again."""
    if plan.effect is None or stamp_columns(plan) or (plan.write is not None and plan.write.deletes):
        return
    yield (
        "idempotency-key",
        "no column tells a row's second staleness from its first, so both have the same Idempotency-Key, and a receiver that "
        "remembers keys drops the second: name a column that changes in between in spec.effect.key",
    )


def unit_warnings(match: Match, values: Sequence[float]) -> list[str]:
    """A warning where a sample of the column's numbers looks like times in another unit."""
    looks, unit = unit_of(values), match.unit or "seconds"
    if not values or looks == unit:
        return []
    if looks is None:
        such = f"{sorted(values)[len(values) // 2]:.15g}"
        return [
            f'values of column "{match.column}", such as {such}, are read as {unit} since 1970, which gives implausible times: choose '
            "another column, or write the comparison as sql"
        ]
    return [f'values of column "{match.column}" look like {looks} since 1970 and are read as {unit}: set unit: {looks}']


def used_columns(matches: tuple[Match, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(match.column for match in matches if match.column))
