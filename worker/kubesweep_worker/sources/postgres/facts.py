"""Reads what ``kubesweep init`` needs about a PostgreSQL table: from the catalog, from the statistics, and from a bounded number of rows.

Every transaction is READ ONLY with short timeouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.facts import (
    LISTED,
    MOST_VALUES,
    NUMBERS,
    SAMPLE,
    TIMED,
    ColumnFacts,
    Moment,
    TableFacts,
    epoch_unit,
    listed,
)
from kubesweep_worker.sources.postgres.checks.catalog import CatalogColumn, Relation, read_relation, sql
from kubesweep_worker.sources.postgres.checks.children import read_children
from kubesweep_worker.sources.postgres.checks.fit import NUMBERS as NUMBER_TYPES
from kubesweep_worker.sources.postgres.checks.fit import check_is_table, usable_keys
from kubesweep_worker.sources.postgres.pool import Pool, Rows, Timeouts, Transaction
from kubesweep_worker.sources.postgres.session import is_utc, read_session

SECONDS = 2.0  # longest time of a statement
SETTINGS = (
    "SET TRANSACTION READ ONLY",
    f"SET LOCAL statement_timeout = {round(SECONDS * 1000)}",
    "SET LOCAL lock_timeout = 300",
    "SET LOCAL idle_in_transaction_session_timeout = 10000",
    "SET LOCAL standard_conforming_strings = on",
    "SET LOCAL quote_all_identifiers = off",
    "SET LOCAL jit = off",
)
OPTION = "--table"  # the place of the table's name, in messages
MOMENTS: Mapping[str, Moment] = {
    "timestamp with time zone": "zoned",
    "timestamp without time zone": "naive",
    "date": "date",
}


async def read_postgres(url: str, schema: str | None, table: str) -> TableFacts:
    pool = Pool(lambda: url, 1, "kubesweep/init", Timeouts(SECONDS))
    try:
        async with pool.transaction(SETTINGS) as tx:
            relation = await read_relation(tx, schema, table, OPTION)
            check_is_table(relation, OPTION)
            found = await _read_catalog(tx, relation)
        columns = {name: await _sampled(pool, found, column) for name, column in found.columns.items()}
        return replace(found, columns=columns)
    finally:
        await pool.close()


async def _read_catalog(tx: Transaction, relation: Relation) -> TableFacts:
    checks = {str(name): listed(str(text)) for name, text in await tx.query(sql("check_values"), relation.oid)}
    counts: dict[str, dict[str, int]] = {}
    for name, value, frequency in await tx.query(sql("common_values"), relation.schema, relation.name, MOST_VALUES):
        counts.setdefault(str(name), {}).setdefault(str(value), round(frequency * max(relation.rows, 0)))
    zone = (await read_session(tx))["TimeZone"]
    children = [each.child for each in await read_children(tx, relation)]
    return TableFacts(
        database="postgresql",
        schema=relation.schema,
        table=relation.name,
        rows=relation.rows,
        columns={
            name: _column(column, checks.get(name, ()), counts.get(name)) for name, column in relation.columns.items()
        },
        primary=next((index.columns for index in relation.indexes if index.primary), ()),
        keys=tuple(usable_keys(relation)),
        indexes=tuple(index.columns for index in relation.indexes),
        partitioned=relation.partitioned,
        children=tuple(each for each in children if each.depth == 1),
        time_zone="UTC" if is_utc(zone) else zone,
    )


def _column(column: CatalogColumn, checked: tuple[str, ...], counts: dict[str, int] | None) -> ColumnFacts:
    return ColumnFacts(
        name=column.name,
        type=column.type,
        not_null=column.not_null,
        moment=MOMENTS.get(column.type, ""),
        choices=column.labels or checked,
        counts=counts,
        writable=not (column.generated or column.identity_always),
    )


async def _sampled(pool: Pool, table: TableFacts, column: ColumnFacts) -> ColumnFacts:
    """The column with what only its values show: the unit of numbers that are times, and values that the statistics lack."""
    name = quote_name(column.name)
    if column.type in NUMBER_TYPES and TIMED.search(column.name):
        few = f"SELECT {name} AS v FROM {table.quoted} LIMIT {SAMPLE}"
        rows = await _rows(pool, f"SELECT v::float8 FROM ({few}) AS few WHERE v IS NOT NULL LIMIT {NUMBERS}")
        unit = epoch_unit(column.name, [float(value) for (value,) in rows])
        return replace(column, moment="number", unit=unit) if unit else column
    if column.counts is None and (column.choices or LISTED.search(column.name)) and not column.moment:
        few = f"SELECT {name}::text AS v FROM {table.quoted} LIMIT {SAMPLE}"
        query = f"SELECT v, count(*) FROM ({few}) AS few WHERE v IS NOT NULL GROUP BY v ORDER BY 2 DESC, 1 LIMIT {MOST_VALUES + 1}"
        counts = {str(value): int(count) for value, count in await _rows(pool, query)}
        return replace(column, counts=counts) if 0 < len(counts) <= MOST_VALUES else column
    return column


async def _rows(pool: Pool, query: str) -> Rows:
    """The rows; none where the role may not read the column, or where it takes too long."""
    try:
        async with pool.transaction(SETTINGS) as tx:
            [rows] = await tx.finish(query)
            return rows
    except (Outage, RowError, SweepFailure):
        return []
