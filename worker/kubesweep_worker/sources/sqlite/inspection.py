"""``kubesweep check`` on SQLite: whether the plan fits the table, what would run, and what may be unexpected."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

from kubesweep.api.plan import Plan
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources.base import DAY, EPOCH_UNIT, Column, Explanation, Predicate, Range, Table, date_of_today
from kubesweep_worker.sources.conditions import (
    SIGNS,
    column,
    quote_name,
    same_key_warnings,
    time_columns,
    unit_warnings,
)
from kubesweep_worker.sources.fit import missing_columns
from kubesweep_worker.sources.paging import timed_out
from kubesweep_worker.sources.sqlite.catalog import SqliteTable
from kubesweep_worker.sources.sqlite.errors import classify_sqlite
from kubesweep_worker.sources.sqlite.fit import NUMBER
from kubesweep_worker.sources.sqlite.statements import IS_UTF8, SqliteStatements, as_milliseconds
from kubesweep_worker.sources.sqlite.write import transaction

SAMPLE = 100  # values that are read
BIG_ROWS = 100_000  # reading fewer needs no warning
MOMENT = re.compile(r"(?::cutoff\b|'now'|\bCURRENT_(?:TIMESTAMP|DATE)\b)", re.IGNORECASE)
EXAMPLE = "2026-01-01 00:00:00.000"


def compile_all(c: sqlite3.Connection, plan: Plan, sql: SqliteStatements) -> None:
    """Compile every statement of the plan without running it."""
    statements = [sql.count(Predicate(EXAMPLE), 1), sql.rows(Range(), Predicate(EXAMPLE), 1)]
    if plan.write is not None and not plan.dry_run:
        statements += sql.write(Range(), Predicate(EXAMPLE))
    for statement in statements:
        c.execute(f"EXPLAIN {statement}").fetchall()


def inspect(c: sqlite3.Connection, plan: Plan, table: SqliteTable, sql: SqliteStatements, *, read_only: bool) -> Table:
    compile_all(c, plan, sql)
    if plan.write is not None and not plan.dry_run and not read_only:
        try:
            with transaction(c):
                pass
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
    [(rows,)] = c.execute(f"SELECT count(*) FROM (SELECT 1 FROM {sql.table} LIMIT 1000001)")
    columns = {col.name: Column(col.name, col.type, not col.not_null) for col in table.columns.values()}
    warnings = (*_warnings(c, plan, table, sql), *_read_only(plan, read_only))
    return Table(sql.table, columns, sql.key, rows, warnings)


def _warnings(
    c: sqlite3.Connection, plan: Plan, table: SqliteTable, sql: SqliteStatements
) -> Iterator[tuple[str, str]]:
    if plan.write is not None:
        for name in table.triggers:
            yield "trigger", f'trigger "{name}" may fire for every row that is written'
    for name in time_columns(plan.match):
        if not table.columns[name].not_null:
            yield "nullable-time", f'column "{name}" may be NULL: such rows are never stale'
    yield from _odd_times(c, plan, table, sql)
    yield from _days(c, plan, table, sql)
    if advice := index_advice(c, plan, table, sql):
        yield "no-index", f"finding stale rows reads all of {sql.table}: {advice}"
    yield from same_key_warnings(plan)
    lost = [name for name in table.columns if sql.archive is not None and name not in sql.archive[1]]
    if sql.archive is not None and lost:
        yield "archive-columns", f"the archive {sql.archive[0]} has no column {', '.join(lost)}: its values are lost"
    for name in sql.nullable_key:
        yield "nullable-key", f'key column "{name}" is not declared NOT NULL: rows without a key are never swept'
    loose = " OR ".join(f"typeof({quote_name(name)}) = 'blob'" for name in sql.loose_key)
    if loose and c.execute(f"SELECT EXISTS (SELECT 1 FROM {sql.table} WHERE {loose})").fetchone()[0]:
        yield (
            "blob-key",
            f"some rows of {sql.table} have bytes in their key, which never equal a text: they are never swept",
        )
    real = " OR ".join(f"typeof({quote_name(name)}) = 'real'" for name in sql.loose_key)
    if real and c.execute(f"SELECT EXISTS (SELECT 1 FROM {sql.table} WHERE {real})").fetchone()[0]:
        yield (
            "real-key",
            f"some rows of {sql.table} have a floating-point number in their key, whose text may equal another key's: they are never swept",
        )
    garbled = " OR ".join(f"NOT {IS_UTF8}(CAST({quote_name(name)} AS BLOB))" for name in sql.loose_key)
    if garbled and c.execute(f"SELECT EXISTS (SELECT 1 FROM {sql.table} WHERE {garbled})").fetchone()[0]:
        yield (
            "garbled-key",
            f"some rows of {sql.table} have a key that is not UTF-8: a sweep skips them where a statement has to name them",
        )


def _first(sql: SqliteStatements) -> str:
    """A bounded number of rows to sample from, because a column may be NULL in all rows of a large table."""
    return f"(SELECT * FROM {sql.table} LIMIT {10 * SAMPLE})"


def check_cutoff(c: sqlite3.Connection, plan: Plan, table: SqliteTable, sql: SqliteStatements) -> None:
    """Raises SweepFailure where sql compares numbers with a time, which is text: in SQLite every number is less than every text, so
    every row would match. A sample shows it: a row that matches the first time of the calendar as text, and no longer matches
    it as a number, matches only because of its type."""
    for match in plan.match:
        if not MOMENT.search(match.sql):
            continue
        numbers = [name for name in table.columns if re.search(rf"\b{re.escape(name)}\b", match.sql, re.IGNORECASE)]
        if not numbers:
            continue
        early, number = (
            f"(\n{MOMENT.sub(literal, match.sql)}\n)" for literal in ("'0001-01-01 00:00:00.000'", "-1e18")
        )
        some = " OR ".join(f"typeof({column(name)}) IN ('integer', 'real')" for name in numbers)
        asked = f"SELECT {', '.join(column(name) for name in numbers)} FROM {_first(sql)} AS t WHERE ({some}) AND {early} AND NOT coalesce({number}, 0) LIMIT 1"
        try:
            found = c.execute(asked).fetchone()
        except sqlite3.Error:  # it uses the rowid, or fails on a row, which other checks report
            continue
        if found is not None:
            name = next(name for name, value in zip(numbers, found, strict=True) if isinstance(value, int | float))
            raise SweepFailure(
                "CutoffIsText",
                f'spec.match: sql compares column "{name}", which has numbers, with a time, which is text on SQLite, and every number is less '
                f"than every text: write {{column: {name}, before: now, unit: milliseconds}} (or seconds, microseconds) instead",
            )


def check_order(c: sqlite3.Connection, plan: Plan, table: SqliteTable, sql: SqliteStatements) -> None:
    """Raises SweepFailure where numbers are stored as text, which SQLite compares character by character."""
    for match in plan.match:
        if match.op not in ("lessThan", "greaterThan") or table.columns[match.column].affinity != "TEXT":
            continue
        name, value = column(match.column), match.values[0]
        few = f"SELECT {name} FROM {_first(sql)} AS t WHERE typeof({name}) = 'text' LIMIT {SAMPLE}"
        texts = [str(text) for (text,) in c.execute(few)]
        if NUMBER.fullmatch(value.strip()) and texts and all(NUMBER.fullmatch(text.strip()) for text in texts):
            raise SweepFailure(
                "ColumnType",
                f'spec.match: "{match.column}" stores numbers as text, which "{match.op}" would compare by characters, so that 10.5 is less than 9: '
                f"write sql: CAST({name} AS REAL) {SIGNS[match.op]} {value}",
            )


def check_now(c: sqlite3.Connection, plan: Plan, sql: SqliteStatements) -> None:
    """Raises SweepFailure where ``now`` would be written as text into a column that stores its times as numbers."""
    for one in plan.write.update if plan.write is not None else ():
        name = quote_name(one.column)
        if one.value != "now" or sql.dialect.value(one.column, "now") == "'now'":
            continue
        few = f"SELECT typeof({name}) FROM {_first(sql)} WHERE {name} IS NOT NULL LIMIT {SAMPLE}"
        if any(kind in ("integer", "real") for (kind,) in c.execute(few)):
            raise SweepFailure(
                "ValueInvalid",
                f'spec.write.update: column "{one.column}" stores times as numbers, and now is text: write sql: '
                "CAST(strftime('%s', 'now') AS INTEGER), times 1000 for milliseconds",
            )


def _odd_times(
    c: sqlite3.Connection, plan: Plan, table: SqliteTable, sql: SqliteStatements
) -> Iterator[tuple[str, str]]:
    """Warnings about a sample of the times."""
    for match in plan.match:
        if match.op not in ("before", "after"):
            continue
        name = column(match.column)
        read = name if match.unit else as_milliseconds(name, plan.source.zone)
        few = f"SELECT typeof({name}), {name}, {read} FROM {sql.table} AS t WHERE {name} IS NOT NULL LIMIT {SAMPLE}"
        rows = c.execute(few).fetchall()
        numbers = [float(value) for kind, value, _ in rows if kind in ("integer", "real")]
        for sentence in unit_warnings(match, numbers):
            yield EPOCH_UNIT, sentence
        odd = sum(1 for kind, _, time in rows if time is None or (match.unit and kind not in ("integer", "real")))
        if odd:
            what = f"text, and unit: {match.unit} reads numbers" if match.unit else "not times"
            yield (
                "no-time",
                f'{odd} of {len(rows)} values of column "{match.column}" are {what}: such rows are never stale',
            )


def _days(c: sqlite3.Connection, plan: Plan, table: SqliteTable, sql: SqliteStatements) -> Iterator[tuple[str, str]]:
    """Columns of dates: declared as DATE, or with texts of the length of a date."""
    for match in plan.match:
        if match.op != "before" or match.unit or match.offset >= DAY:
            continue
        name = quote_name(match.column)
        few = f"SELECT length({name}) FROM {_first(sql)} WHERE typeof({name}) = 'text' LIMIT {SAMPLE}"
        sizes = {size for (size,) in c.execute(few)}
        if sizes == {len("2026-01-01")} or (not sizes and table.columns[match.column].type.upper() == "DATE"):
            yield date_of_today(match.column)


def index_advice(c: sqlite3.Connection, plan: Plan, table: SqliteTable, sql: SqliteStatements) -> str | None:
    """A statement that creates the missing index, where finding stale rows reads a whole large table."""
    columns = missing_columns(plan, ())
    if not columns or columns[0] == table.rowid_alias or sql.finds_by_index(c, EXAMPLE):
        return None
    if c.execute(f"SELECT count(*) FROM (SELECT 1 FROM {sql.table} LIMIT {BIG_ROWS})").fetchone() != (BIG_ROWS,):
        return None
    return create_index(table.name, columns)


def create_index(table: str, columns: tuple[str, ...]) -> str:
    name = quote_name("_".join((table, *columns)))
    return f"CREATE INDEX {name} ON {quote_name(table)} ({', '.join(map(quote_name, columns))});"


def _read_only(plan: Plan, read_only: bool) -> Iterator[tuple[str, str]]:
    if read_only and plan.write is not None and not plan.dry_run:
        yield "read-only", "the database's URL says mode=ro: this check only reads, and a sweep is refused"


def explain(c: sqlite3.Connection, plan: Plan, table: SqliteTable, sql: SqliteStatements, cutoff: str) -> Explanation:
    batch = plan.limits.batch_rows
    most = plan.window_jobs * batch
    find = (
        sql.match_search(Range(), Predicate(cutoff), most)
        if sql.finds_by_index(c, cutoff)
        else sql.keys(Range(), Predicate(cutoff), most)
    )
    example = Range(None, c.execute(sql.nth(Range(), batch)).fetchone())
    steps = [str(row[3]) for row in c.execute(f"EXPLAIN QUERY PLAN {find}")]
    write = ";\n".join(sql.write(example, Predicate(cutoff))) if plan.write is not None else None
    try:
        [(rows,)] = c.execute(sql.count(Predicate(cutoff), 1_000_000))
    except sqlite3.OperationalError as error:
        if not timed_out(classify_sqlite(error)):
            raise
        rows = 0  # not counted in time
    return Explanation(
        find,
        sql.rows(example, Predicate(cutoff), batch),
        write,
        "\n".join(steps),
        rows,
        index_advice(c, plan, table, sql),
    )
