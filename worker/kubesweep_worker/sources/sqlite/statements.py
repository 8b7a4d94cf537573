"""Every statement of a sweep on SQLite, as text. Pure.

SQLite has no type for times and compares text byte by byte (``'2026-03-01 23:59' < '2026-03-01T00:00'`` is true), so
both sides of ``before`` become milliseconds since the epoch: ISO text with a blank or T, with fraction, Z or offset, and
numbers, which are seconds since the epoch. Any other value is NULL, so its row is never stale.

Literals are always text: the affinity of the column that they are compared with converts them to numbers.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kubesweep.api.plan import Match, Plan
from kubesweep.queue.model import Key
from kubesweep_worker.sources.base import Predicate, Range, Scope
from kubesweep_worker.sources.conditions import (
    SIGNS,
    column,
    parenthesised,
    quote_name,
    quote_text,
    stale,
    stamp_columns,
    time_conditions,
)
from kubesweep_worker.sources.epochs import MICROSECONDS, exact, floor

IS_UTF8 = "kubesweep_is_utf8"  # a function of connection.py
MILLISECONDS = "kubesweep_ms"  # a function of connection.py, only where naive times are in a zone other than UTC
NUMERIC = re.compile(r"-?\d+(\.\d+)?")
BOOLEANS = {"true": 1, "t": 1, "yes": 1, "on": 1, "1": 1, "false": 0, "f": 0, "no": 0, "off": 0, "0": 0}


def milliseconds(cutoff: str, offset: float = 0.0) -> int:
    """The cutoff, an ISO text, in milliseconds since the epoch."""
    moment = datetime.fromisoformat(cutoff)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round((moment.timestamp() - offset) * 1000)


def as_milliseconds(expression: str, zone: str) -> str:
    iso = f"{expression} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'"
    parsed = f"{MILLISECONDS}({expression})"
    if zone == "UTC":  # SQLite reads an offset with a colon only
        colon = (
            f"CASE WHEN {expression} GLOB '*:*[+-][0-9][0-9][0-9][0-9]' "
            f"THEN substr({expression}, 1, length({expression}) - 2) || ':' || substr({expression}, -2) "
            f"WHEN {expression} GLOB '*:*[+-][0-9][0-9]' THEN {expression} || ':00' ELSE {expression} END"
        )
        parsed = f"CAST(round((julianday({colon}) - 2440587.5) * 86400000) AS INTEGER)"
    return (
        f"CASE typeof({expression}) WHEN 'text' THEN CASE WHEN {iso} THEN {parsed} END "
        f"WHEN 'integer' THEN {expression} * 1000 WHEN 'real' THEN CAST(round({expression} * 1000) AS INTEGER) END"
    )


NEARER = {"before": "min", "after": "max"}  # see postgres/dialect.py
NOW_MS = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
COARSE = timedelta(days=2)  # more than any offset from UTC


@dataclass(frozen=True, slots=True)
class SqliteDialect:
    """``declared`` are the columns' types as the schema has them, by which booleans and numbers are known."""

    zone: str = "UTC"
    declared: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str, text: str) -> str:
        """Text; a column of integers or numbers converts it by its affinity before comparing and storing. A boolean is 0 or 1, as
        SQLite's own TRUE and FALSE are, and ``now`` is the time, as it is to PostgreSQL."""
        declared = self.declared.get(name, "").upper()
        if ("BOOL" in declared or "TINYINT" in declared) and text.lower() in BOOLEANS:
            return str(BOOLEANS[text.lower()])
        if text == "now" and "INT" not in declared and ("DATE" in declared or "TIME" in declared):
            return "CURRENT_DATE" if declared == "DATE" else "CURRENT_TIMESTAMP"
        return quote_text(text)

    def values(self, name: str, texts: Sequence[str]) -> str:
        """For IN. A column without a type has numbers and texts as they came; Rails once kept booleans as t and f."""
        if "BOOL" in self.declared.get(name, "").upper():
            letters = [quote_text("t" if BOOLEANS[text.lower()] else "f") for text in texts if text.lower() in BOOLEANS]
            return ", ".join([*(self.value(name, text) for text in texts), *letters])
        numbers = [text for text in texts if not self.declared.get(name, "x") and NUMERIC.fullmatch(text)]
        return ", ".join([*(self.value(name, text) for text in texts), *numbers])

    def when(self, match: Match, cutoff: str) -> str:
        name, sign = column(match.column), SIGNS[match.op]
        if match.unit:
            asked = (cutoff, match.offset, match.unit)
            number = floor(*asked) if match.op == "before" else exact(*asked)
            scale = MICROSECONDS["seconds"] // MICROSECONDS[match.unit]
            now = f"({NOW_MS} - {round(match.offset * 1000)}) * {scale} / 1000"
            return f"{name} {sign} {number} AND {name} {sign} {now} AND typeof({name}) IN ('integer', 'real')"
        moment = f"{NEARER[match.op]}({milliseconds(cutoff)}, {NOW_MS}) - {round(match.offset * 1000)}"
        precise = f"{as_milliseconds(name, self.zone)} {sign} {moment}"
        if match.op == "after":
            return precise
        at = datetime.fromisoformat(cutoff).replace(tzinfo=UTC) - timedelta(seconds=match.offset)
        if at.year < 1000 or at.year > 9000:
            return precise
        # Texts in ISO order, and numbers before all of them: an index serves this bound.
        return f"{name} < {quote_text((at + COARSE).strftime('%Y-%m-%d'))} AND {precise}"

    def since(self, match: Match) -> str:
        """When a row met a ``before`` condition, in seconds since 1970."""
        name = column(match.column)
        if match.unit:
            return f"{name} * {MICROSECONDS[match.unit] / 1_000_000!r} + {match.offset:.6f}"
        return f"({as_milliseconds(name, self.zone)}) / 1000.0 + {match.offset:.6f}"

    def compare(self, match: Match) -> str:
        """Only values of the column's kind: SQLite holds every text for greater than every number."""
        name, text = column(match.column), match.values[0]
        kinds = "'integer', 'real'" if self._is_number(match.column) else "'text'"
        return f"{name} {SIGNS[match.op]} {self.value(match.column, text)} AND typeof({name}) IN ({kinds})"

    def _is_number(self, name: str) -> bool:
        declared = self.declared.get(name, "").upper()
        if "INT" in declared:
            return True
        others = ("CHAR", "CLOB", "TEXT", "BLOB", "DATE", "TIME")
        return bool(declared) and not any(word in declared for word in others)

    def expression(self, sql: str, cutoff: str) -> str:
        return parenthesised(sql, f"min({quote_text(cutoff)}, strftime('%Y-%m-%d %H:%M:%f', 'now'))")


@dataclass(frozen=True)
class SqliteStatements:
    plan: Plan
    table: str
    key: tuple[str, ...]
    dialect: SqliteDialect
    effect_columns: tuple[str, ...] = ()
    archive: tuple[str, tuple[str, ...]] | None = None
    # A primary key of SQLite may hold NULL: such rows have no name and are left alone.
    nullable_key: tuple[str, ...] = ()
    loose_key: tuple[str, ...] = ()  # columns of the key that may hold bytes, whatever they are declared
    garbled_key: bool = False  # some keys are no UTF-8
    dropping: tuple[str, ...] = ()  # triggers of the archive that may drop a row

    @property
    def key_list(self) -> str:
        return ", ".join(column(name) for name in self.key)

    @property
    def key_texts(self) -> str:
        return ", ".join(f"CAST({column(name)} AS TEXT)" for name in self.key)

    def _row(self, parts: Sequence[str]) -> str:
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def _key(self) -> str:
        return self._row([column(name) for name in self.key])

    def _literal(self, key: Key) -> str:
        return self._row([quote_text(text) for text in key])

    def _among(self, keys: Collection[Key]) -> str:
        """A list for one column, VALUES for several: both are searched by an index of their own."""
        literals = ", ".join(self._literal(key) for key in keys)
        return f"({literals})" if len(self.key) == 1 else f"(VALUES {literals})"

    def scope(self, scope: Scope) -> list[str]:
        if isinstance(scope, Range):
            low = [f"{self._key()} > {self._literal(scope.low)}"] if scope.low is not None else []
            return low + ([f"{self._key()} <= {self._literal(scope.high)}"] if scope.high is not None else [])
        return [f"{self._key()} IN {self._among(scope.keys)}"]

    def matching(self, cutoff: str) -> str:
        return stale(self.plan.match, self.dialect, cutoff)

    def where(self, scope: Scope, predicate: Predicate) -> str:
        excluded = predicate.excluded
        without = [f"{self._key()} NOT IN {self._among(excluded)}"] if excluded else []
        return " AND ".join([*self.scope(scope), *self._named(), *without, self.matching(predicate.cutoff)])

    def keys(self, scope: Scope, predicate: Predicate, most: int | None = None) -> str:
        limit = "" if most is None else f" LIMIT {most}"
        return f"SELECT {self.key_texts} FROM {self.table} AS t WHERE {self.where(scope, predicate)} ORDER BY {self.key_list}{limit}"

    def match_search(self, scope: Scope, predicate: Predicate, most: int) -> str:
        """Up to ``most`` + 1 stale keys of the scope, sorted after they are found, so that the best index of the match is used."""
        where = self.where(scope, predicate)
        parts = [f"k{n}" for n in range(len(self.key))]
        texts = ", ".join(f"CAST({part} AS TEXT)" for part in parts)
        names = ", ".join(f"{column(name)} AS {part}" for name, part in zip(self.key, parts, strict=True))
        few = f"SELECT {names} FROM {self.table} AS t WHERE {where} LIMIT {most + 1}"
        return f"WITH found AS MATERIALIZED ({few}) SELECT {texts} FROM found ORDER BY {', '.join(parts)}"

    def finds_by_index(self, c: sqlite3.Connection, cutoff: str) -> bool:
        """Whether SQLite uses an index of the match to find stale rows."""
        few = f"SELECT 1 FROM {self.table} AS t WHERE {self.where(Range(), Predicate(cutoff))}"
        return any(str(step[3]).startswith("SEARCH t ") for step in c.execute(f"EXPLAIN QUERY PLAN {few}"))

    def count(self, predicate: Predicate, most: int) -> str:
        return f"SELECT count(*) FROM (SELECT 1 FROM {self.table} AS t WHERE {self.where(Range(), predicate)} LIMIT {most})"

    def oldest(self, predicate: Predicate) -> tuple[str, str]:
        """When the oldest stale row became stale, in seconds since 1970: of the rows whose first time is a number, and of those
        where it is a text. SQLite sorts every number before every text, so an index finds both at once."""
        return self._by_time(predicate, "")

    def newest(self, predicate: Predicate) -> tuple[str, str]:
        """The same of the newest one."""
        return self._by_time(predicate, " DESC")

    def _by_time(self, predicate: Predicate, order: str) -> tuple[str, str]:
        times = time_conditions(self.plan.match)
        each = [self.dialect.since(match) for match in times]
        since, first = each[0] if len(each) == 1 else f"max({', '.join(each)})", column(times[0].column)
        where = self.where(Range(), predicate)
        numbers, texts = (
            f"SELECT {since} FROM {self.table} AS t WHERE {where} AND {first} {part} '' ORDER BY {first}{order} LIMIT 1"
            for part in ("<", ">=")
        )
        return numbers, texts

    def again(self, scope: Scope, predicate: Predicate) -> str:
        """Count rows that match after the update, under the same lock. No other connection writes, so these would never end a sweep."""
        return f"SELECT count(*) FROM {self.table} AS t WHERE {self.where(scope, predicate)}"

    def last(self) -> str:
        """The greatest key: one step backwards along the key's index."""
        conditions = self._named()
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        order = ", ".join(f"{column(name)} DESC" for name in self.key)
        return f"SELECT {self.key_texts} FROM {self.table} AS t{where} ORDER BY {order} LIMIT 1"

    def _named(self) -> list[str]:
        """Only rows that a statement can name: a key that is NULL, bytes, or text that is not UTF-8 equals no literal, and the text
        of a floating-point number may equal another number's."""
        return [
            *(f"{column(name)} IS NOT NULL" for name in self.nullable_key),
            *(f"typeof({column(name)}) NOT IN ('blob', 'real')" for name in self.loose_key),
            *(f"{IS_UTF8}(CAST({column(name)} AS BLOB))" for name in self.loose_key if self.garbled_key),
        ]

    def nth(self, behind: Range, rows: int) -> str:
        """The key of the ``rows``-th row of the table in ``behind``; no result where there are fewer."""
        conditions = [*self.scope(behind), *self._named()]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return (
            f"SELECT {self.key_texts} FROM {self.table} AS t{where} ORDER BY {self.key_list} LIMIT 1 OFFSET {rows - 1}"
        )

    def span(self, scope: Scope, most: int) -> str:
        conditions = self.scope(scope)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT count(*) FROM (SELECT 1 FROM {self.table} AS t{where} LIMIT {most})"

    def rows(self, scope: Scope, predicate: Predicate, most: int) -> str:
        times = [f"CAST({column(name)} AS TEXT)" for name in stamp_columns(self.plan)]
        wanted = ", ".join([self.key_texts, *times, *(column(name) for name in self.effect_columns)])
        return f"SELECT {wanted} FROM {self.table} AS t WHERE {self.where(scope, predicate)} ORDER BY {self.key_list} LIMIT {most}"

    def write(self, scope: Scope, predicate: Predicate) -> tuple[str, ...]:
        """Statements of one transaction; the last one's number of rows is the number written."""
        write = self.plan.write
        if write is None:
            raise ValueError("this plan writes nothing")
        where = self.where(scope, predicate)
        if not write.deletes:
            sets = ", ".join(
                f"{quote_name(a.column)} = "
                + (
                    self.dialect.expression(a.sql, predicate.cutoff)
                    if a.sql is not None
                    else "NULL"
                    if a.value is None
                    else self.dialect.value(a.column, a.value)
                )
                for a in write.update
            )
            moved = ""
            if any(a.column in self.key for a in write.update):  # the rows' new keys, under which ``again`` finds them
                moved = " RETURNING " + ", ".join(f"CAST({quote_name(name)} AS TEXT)" for name in self.key)
            return (f"UPDATE {self.table} AS t SET {sets} WHERE {where}{moved}",)
        gone = f"DELETE FROM {self.table} AS t WHERE {where}"
        if self.archive is None:
            return (gone,)
        name, columns = self.archive
        names, values = ", ".join(quote_name(c) for c in columns), ", ".join(column(c) for c in columns)
        return (f"INSERT INTO {name} ({names}) SELECT {values} FROM {self.table} AS t WHERE {where}", gone)
