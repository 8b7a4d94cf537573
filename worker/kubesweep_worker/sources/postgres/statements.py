"""Every statement of a sweep on PostgreSQL, as text. Pure.

Three choices make the statements fast:

- Keys are compared in the table's types and the index's order; they are transferred as text and cast back.
- ``key_scan`` evaluates the predicate in the target list of a bounded scan along the key's index. With a WHERE and a LIMIT the
  query planner may read the whole index for rows that do not exist.
- ``match_search`` finds rows without ORDER BY, so that the best index of the match is used, and sorts them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from kubesweep.api.plan import Plan, Write
from kubesweep.queue.model import Key
from kubesweep_worker.sources.base import Keys, Predicate, Range, Scope
from kubesweep_worker.sources.conditions import column, quote_name, stale, stamp_columns, time_conditions
from kubesweep_worker.sources.postgres.dialect import PostgresDialect, quote_pg

TEXTS = 8  # texts of the latest cutoffs that are kept


@dataclass(frozen=True, slots=True)
class KeyColumn:
    name: str
    type: str  # without length: "character varying"


def text_of(expression: str, type_: str) -> str:
    """The text of a key column in ISO format and UTC, independent of DateStyle, TimeZone and bytea_output. JSON is always ISO
    (https://www.postgresql.org/docs/current/functions-json.html)."""
    if type_ == "date":
        return f"to_json({expression}) #>> '{{}}'"
    if type_ == "timestamp without time zone":
        return f"replace(to_json({expression}) #>> '{{}}', 'T', ' ')"
    if type_ == "timestamp with time zone":
        naive = f"replace(to_json({expression} AT TIME ZONE 'UTC') #>> '{{}}', 'T', ' ')"
        with_offset = f"regexp_replace({naive}, '( BC)?$', '+00\\1')"
        return f"CASE WHEN isfinite({expression}) THEN {with_offset} ELSE {expression}::text END"
    if type_ == "bytea":
        return f"'\\x' || encode({expression}, 'hex')"
    return f"{expression}::text"


def array(values: Sequence[str]) -> str:
    """The literal of a text array."""
    inner = ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return quote_pg("{" + inner + "}")


@dataclass(frozen=True)
class Statements:
    plan: Plan
    table: str  # quoted and qualified
    key: tuple[KeyColumn, ...]
    dialect: PostgresDialect
    effect_columns: tuple[str, ...] = ()
    archive: tuple[str, tuple[str, ...]] | None = None  # its quoted name, the columns that both tables have
    oids: tuple[int, ...] = ()  # of the table and its archive
    copied: str = ""  # condition: ``a``, a row of the archive, is the copy of the row with key ``h``
    _texts: dict[tuple[str, str], str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def key_list(self) -> str:
        return ", ".join(column(part.name) for part in self.key)

    @property
    def key_texts(self) -> str:
        return ", ".join(text_of(column(part.name), part.type) for part in self.key)

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(f"k{n}" for n in range(1, len(self.key) + 1))

    @property
    def aliased(self) -> str:
        """The key columns under generated aliases, for outer queries."""
        return ", ".join(f"{column(p.name)} AS {alias}" for p, alias in zip(self.key, self.aliases, strict=True))

    @property
    def outer_texts(self) -> str:
        return ", ".join(text_of(alias, part.type) for alias, part in zip(self.aliases, self.key, strict=True))

    def _row(self, parts: Sequence[str]) -> str:
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def _key_literal(self, key: Key) -> str:
        return self._row([f"{quote_pg(text)}::{part.type}" for text, part in zip(key, self.key, strict=True)])

    def _listed(self, keys: Collection[Key]) -> str:
        """A subquery of the keys in the key's types; every PostgreSQL version hashes it."""
        arrays = ", ".join(f"{array([key[n] for key in keys])}::text[]" for n in range(len(self.key)))
        casts = ", ".join(f"h.{alias}::{part.type}" for alias, part in zip(self.aliases, self.key, strict=True))
        return f"SELECT {casts} FROM unnest({arrays}) AS h({', '.join(self.aliases)})"

    def scope(self, scope: Scope) -> list[str]:
        key = self._row([column(part.name) for part in self.key])
        if isinstance(scope, Range):
            low = [f"{key} > {self._key_literal(scope.low)}"] if scope.low is not None else []
            return low + ([f"{key} <= {self._key_literal(scope.high)}"] if scope.high is not None else [])
        if len(self.key) == 1:
            return [f"{key} = ANY ({array([k[0] for k in scope.keys])}::{self.key[0].type}[])"]
        return [f"{key} IN ({self._listed(scope.keys)})"]

    def matching(self, cutoff: str) -> str:
        return self._once("match", cutoff, lambda: stale(self.plan.match, self.dialect, cutoff))

    def _once(self, part: str, cutoff: str, build: Callable[[], str]) -> str:
        """All jobs of a sweep have one cutoff, so a text that depends on nothing else is built once for it."""
        if (known := self._texts.get((part, cutoff))) is None:
            if len(self._texts) >= TEXTS:
                self._texts.clear()
            known = self._texts[part, cutoff] = build()
        return known

    def without(self, excluded: Collection[Key]) -> list[str]:
        """NOT IN over keys that are never NULL: one hash lookup for each row, and no join that loses the order."""
        if not excluded:
            return []
        return [f"{self._row([column(part.name) for part in self.key])} NOT IN ({self._listed(excluded)})"]

    def where(self, scope: Scope, predicate: Predicate) -> str:
        matching = self.matching(predicate.cutoff)
        if isinstance(scope, Keys):
            # Hide the condition from the query planner: it expects few matches, and would search the keys among all stale rows
            # by the match's index, instead of by the key's index.
            matching = f"coalesce({matching}, false)"
        return " AND ".join([*self.scope(scope), matching, *self.without(predicate.excluded)])

    def _from(self, conditions: Sequence[str]) -> str:
        return f"FROM {self.table} AS t" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")

    def any(self, scope: Scope, predicate: Predicate) -> str:
        """One row for each stale row, for estimates."""
        return f"SELECT FROM {self.table} AS t WHERE {self.where(scope, predicate)}"

    def span(self, scope: Scope) -> str:
        """One row for each row of the scope, stale or not, for estimates."""
        return f"SELECT {self._from(self.scope(scope))}"

    def count(self, predicate: Predicate, most: int) -> str:
        return f"SELECT count(*) FROM ({self.any(Range(), predicate)} LIMIT {most}) AS s"

    def oldest(self, predicate: Predicate) -> str:
        """When the oldest stale row became stale, in seconds since 1970. Only for a match with a ``before`` condition."""
        return self._by_time(predicate, "")

    def newest(self, predicate: Predicate) -> str:
        """The same of the newest one."""
        return self._by_time(predicate, " DESC")

    def _by_time(self, predicate: Predicate, order: str) -> str:
        times = time_conditions(self.plan.match)
        since = ", ".join(self.dialect.since(match) for match in times)
        return (
            f"SELECT GREATEST({since}) FROM {self.table} AS t WHERE {self.where(Range(), predicate)} "
            f"ORDER BY {column(times[0].column)}{order} LIMIT 1"
        )

    def last(self) -> str:
        """The greatest key: one step backwards along the key's index."""
        order = ", ".join(f"{column(part.name)} DESC" for part in self.key)
        return f"SELECT {self.key_texts} FROM {self.table} AS t ORDER BY {order} LIMIT 1"

    def key_scan(self, behind: Range, predicate: Predicate, batch: int, most: int, span: int) -> str:
        """Every ``batch``-th stale key and the last one with their numbers, among the next ``span`` rows of the table."""
        flag = " AND ".join([self.matching(predicate.cutoff), *self.without(predicate.excluded)])
        scanned = (
            f"SELECT {self.aliased}, ({flag}) AS is_stale {self._from(self.scope(behind))} "
            f"ORDER BY {self.key_list} LIMIT {span}"
        )
        # lead() finds the last row while it reads; a count over all rows would store them first (see bench/RESULTS.md).
        return (
            f"SELECT n, {self.outer_texts} FROM (SELECT {', '.join(self.aliases)}, row_number() OVER () AS n, "
            f"lead(false, 1, true) OVER () AS is_last FROM (SELECT {', '.join(self.aliases)} FROM ({scanned}) AS w "
            f"WHERE is_stale LIMIT {most}) AS s) AS b WHERE n % {batch} = 0 OR is_last"
        )

    def key_scan_end(self, behind: Range, span: int) -> str:
        """The number of rows among the next ``span``, and the key of the last one."""
        return (
            f"SELECT n, {self.outer_texts} FROM (SELECT {', '.join(self.aliases)}, row_number() OVER () AS n FROM "
            f"(SELECT {self.aliased} {self._from(self.scope(behind))} ORDER BY {self.key_list} LIMIT {span}) AS w) AS b "
            "ORDER BY n DESC LIMIT 1"
        )

    def match_search(self, behind: Range, predicate: Predicate, most: int, limit: int) -> str:
        """(number of stale rows up to limit + 1, key...): the first ``most`` keys, or one row of NULLs beyond ``limit``."""
        order = ", ".join(f"s.{alias}" for alias in self.aliases)  # a plain k1 would refer to the text in the result
        return (
            f"WITH s AS MATERIALIZED (SELECT {self.aliased} FROM {self.table} AS t "
            f"WHERE {self.where(behind, predicate)} LIMIT {limit + 1}) "
            f"SELECT c.n, o.* FROM (SELECT count(*) AS n FROM s) AS c LEFT JOIN LATERAL "
            f"(SELECT {self.outer_texts} FROM s WHERE c.n <= {limit} ORDER BY {order} LIMIT {most}) AS o ON true"
        )

    def keys(self, scope: Scope, predicate: Predicate) -> str:
        return f"SELECT {self.key_texts} FROM {self.table} AS t WHERE {self.where(scope, predicate)} ORDER BY {self.key_list}"

    def lock(self, scope: Scope, predicate: Predicate) -> str:
        return f"{self.keys(scope, predicate)} FOR UPDATE OF t SKIP LOCKED"

    @property
    def _wanted(self) -> str:
        times = [f"{column(name)}::text" for name in stamp_columns(self.plan)]
        return ", ".join([self.key_texts, *times, *(column(name) for name in self.effect_columns)])

    def rows(self, scope: Scope, predicate: Predicate, most: int) -> str:
        return (
            f"SELECT {self._wanted} FROM {self.table} AS t WHERE {self.where(scope, predicate)} "
            f"ORDER BY {self.key_list} LIMIT {most}"
        )

    def read(self, keys: Keys) -> str:
        """The rows with these keys, stale or not."""
        return f"SELECT {self._wanted} {self._from(self.scope(keys))} ORDER BY {self.key_list}"

    def write(self, scope: Scope, predicate: Predicate) -> str:
        """Returns one row: the rows written, and the rows that match again; with an archive, the rows that it stored."""
        write = self.plan.write
        if write is None:
            raise ValueError("this plan writes nothing")
        where = self.where(scope, predicate)
        if write.deletes:
            if self.archive is None:
                gone = f"DELETE FROM {self.table} AS t WHERE {where} RETURNING 1"
                return f"WITH gone AS ({gone}) SELECT count(*), 0 FROM gone"
            name, columns = self.archive
            names = ", ".join(quote_name(c) for c in columns)
            gone = f"DELETE FROM {self.table} AS t WHERE {where} RETURNING {', '.join(column(c) for c in columns)}"
            kept = f"INSERT INTO {name} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM gone RETURNING 1"
            return f"WITH gone AS ({gone}), kept AS ({kept}) SELECT count(*), (SELECT count(*) FROM kept) FROM gone"
        sets = self._once("set", predicate.cutoff, lambda: self._assignments(write, predicate.cutoff))
        done = (
            f"UPDATE {self.table} AS t SET {sets} WHERE {where} RETURNING ({self.matching(predicate.cutoff)}) AS again"
        )
        return f"WITH done AS ({done}) SELECT count(*), count(*) FILTER (WHERE again) FROM done"

    def shape(self) -> str:
        """A text that changes with any column of the table and its archive."""
        column = "format('%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated)"
        return (
            f"SELECT string_agg({column}, ', ' ORDER BY a.attrelid, a.attnum) FROM pg_attribute AS a "
            f"WHERE a.attrelid IN ({', '.join(map(str, self.oids))}) AND a.attnum > 0 AND NOT a.attisdropped"
        )

    def copies(self, keys: Collection[Key]) -> str:
        """The number of rows in the archive with these keys."""
        assert self.archive is not None
        return (
            f"SELECT count(*) FROM {self.archive[0]} AS a WHERE EXISTS (SELECT FROM ({self._listed(keys)}) "
            f"AS h({', '.join(self.aliases)}) WHERE {self.copied})"
        )

    def _assignments(self, write: Write, cutoff: str) -> str:
        return ", ".join(self._assignment(one.column, one.value, one.sql, cutoff) for one in write.update)

    def _assignment(self, name: str, value: str | None, sql: str | None, cutoff: str) -> str:
        if sql is not None:
            return f"{quote_name(name)} = {self.dialect.expression(sql, cutoff)}"
        return f"{quote_name(name)} = {'NULL' if value is None else self.dialect.value(name, value)}"
