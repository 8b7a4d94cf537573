"""Reads what ``kubesweep init`` needs about a table of a SQLite file, from its schema and a bounded number of rows.

SQLite does not know times, so a column's declared type and a sample of its values decide whether it has any.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from kubesweep.api.plan import Plan, Source
from kubesweep.errors import SweepFailure
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.facts import (
    LISTED,
    MOST_VALUES,
    NUMBERS,
    SAMPLE,
    ColumnFacts,
    TableFacts,
    epoch_unit,
    listed,
)
from kubesweep_worker.sources.sqlite.catalog import SqliteTable, read_table
from kubesweep_worker.sources.sqlite.children import read_children
from kubesweep_worker.sources.sqlite.connection import BLANK
from kubesweep_worker.sources.sqlite.connection_thread import ConnectionThread
from kubesweep_worker.sources.sqlite.errors import classify_sqlite
from kubesweep_worker.sources.sqlite.fit import usable_keys

SECONDS = 5.0  # longest time of all statements
COUNTED = 1_000_000  # rows that are counted
OPTION = "--table"


async def read_sqlite(url: str, schema: str | None, table: str) -> TableFacts:
    if schema not in (None, "main"):
        raise SweepFailure("TableMissing", f'a SQLite file has no schema "{schema}": write {OPTION} {table}')
    source = Source(table=table, statement_timeout=SECONDS)
    thread = ConnectionThread(
        Plan(namespace="default", name="init", uid="", source=source, match=()), lambda: url, lambda: None
    )

    def read() -> TableFacts:
        thread.limit_time()
        try:
            connection = thread.open()
            connection.execute("PRAGMA query_only = ON")
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            return _read(connection, table)
        except sqlite3.Error as error:
            raise classify_sqlite(error) from None

    try:
        return await thread.run(read)
    finally:
        await thread.close()


def _read(c: sqlite3.Connection, name: str) -> TableFacts:
    table = read_table(c, name, OPTION)
    [(rows,)] = c.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table.quoted} LIMIT {COUNTED})")
    candidates = [tuple(each) for each in usable_keys(table)]
    primary = table.primary_key
    # A primary key without NOT NULL is accepted too: rows without a key are never swept.
    keys = dict.fromkeys([*([primary] if 0 < len(primary) <= 4 else []), *candidates])
    return TableFacts(
        database="sqlite",
        table=table.name,
        rows=int(rows),
        columns=dict(_columns(c, table)),
        primary=primary,
        keys=tuple(keys),
        indexes=(*([primary] if primary else []), *_indexes(c, table)),
        children=tuple(each.child for each in read_children(c, table) if each.child.depth == 1),
    )


def _indexes(c: sqlite3.Connection, table: SqliteTable) -> Iterator[tuple[str, ...]]:
    for (name,) in c.execute("SELECT name FROM pragma_index_list(?)", (table.name,)).fetchall():
        columns = c.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", (name,))
        yield tuple(str(column or "") for (column,) in columns)


def _columns(c: sqlite3.Connection, table: SqliteTable) -> Iterator[tuple[str, ColumnFacts]]:
    [(definition,)] = c.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table.name,))
    for name, found in table.columns.items():
        check = re.search(rf'\(\s*"?{re.escape(name)}"?\s+IN\s*\([^()]*\)', str(definition), re.IGNORECASE)
        fact = ColumnFacts(
            name=name,
            type=found.type,
            not_null=found.not_null or bool(found.primary),
            choices=listed(check[0]) if check else (),
            writable=not found.generated,
        )
        yield name, _counted(c, table, _timed(c, table, fact))


def _timed(c: sqlite3.Connection, table: SqliteTable, column: ColumnFacts) -> ColumnFacts:
    """The column, with what a sample shows of its times."""
    name, declared = quote_name(column.name), column.type.upper()
    few = f"SELECT {name} AS v FROM {table.quoted} LIMIT {SAMPLE}"
    values = [value for (value,) in c.execute(f"SELECT v FROM ({few}) WHERE v IS NOT NULL LIMIT {NUMBERS}")]
    if values and all(isinstance(value, int | float) for value in values):
        unit = epoch_unit(column.name, values)
        return replace(column, moment="number", unit=unit) if unit else column
    named = "INT" not in declared and ("DATE" in declared or "TIME" in declared)
    if (values and not all(isinstance(value, str) and _is_time(value) for value in values)) or not (named or values):
        return column
    dates = all(len(value) == len("2026-01-01") for value in values) if values else declared == "DATE"
    return replace(column, moment="date" if dates else "naive")


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(BLANK.sub("", text))
    except ValueError:
        return False
    return len(text) >= len("2026-01-01")


def _counted(c: sqlite3.Connection, table: SqliteTable, column: ColumnFacts) -> ColumnFacts:
    if column.moment or not (column.choices or LISTED.search(column.name)):
        return column
    name = quote_name(column.name)
    few = f"SELECT {name} AS v FROM {table.quoted} LIMIT {SAMPLE}"
    query = f"SELECT v, count(*) FROM ({few}) WHERE v IS NOT NULL GROUP BY v ORDER BY 2 DESC, 1 LIMIT {MOST_VALUES + 1}"
    counts = {str(value): int(count) for value, count in c.execute(query)}
    return replace(column, counts=counts) if 0 < len(counts) <= MOST_VALUES else column
