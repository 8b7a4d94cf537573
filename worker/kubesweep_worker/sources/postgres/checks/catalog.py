"""Read a table and its database from PostgreSQL's catalog."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from psycopg.conninfo import conninfo_to_dict

from kubesweep.errors import SweepFailure
from kubesweep.text import did_you_mean
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.postgres.pool import Transaction


@cache
def sql(name: str) -> str:
    return files("kubesweep_worker.sources.postgres").joinpath("sql", f"{name}.sql").read_text()


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    name: str
    type: str
    not_null: bool
    generated: bool
    identity_always: bool
    labels: tuple[str, ...] | None
    exact: str  # the type with its length
    may_select: bool
    may_update: bool
    may_insert: bool


@dataclass(frozen=True, slots=True)
class Index:
    primary: bool
    unique: bool
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    oid: int
    schema: str
    name: str
    kind: str
    rows: int  # -1: never analyzed
    size: int
    row_security: bool
    schema_usage: bool
    role: str
    read_only: bool
    partition_columns: tuple[str, ...]
    columns: dict[str, CatalogColumn]
    indexes: tuple[Index, ...]

    @property
    def partitioned(self) -> bool:
        """PostgreSQL cannot create an index CONCURRENTLY on such a table."""
        return self.kind == "p"

    @property
    def lockable(self) -> bool:
        """SELECT ... FOR UPDATE needs the right to update a column, even for a role that only deletes."""
        return any(column.may_update for column in self.columns.values())

    @property
    def quoted(self) -> str:
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"


async def read_relation(tx: Transaction, schema: str | None, table: str, where: str = "spec.source") -> Relation:
    """``where``: the field or the option that names the table. Raises SweepFailure TableMissing."""
    found = await tx.query(sql("table"), table, schema)
    if not found:
        names = [(str(s), str(n)) for s, n in await tx.query(sql("names"))]
        raise _missing(schema, table, names, where)
    oid, nsp, name, kind, rows, size, security, usage, role, read_only, partition = found[0]
    columns = {
        c[0]: CatalogColumn(c[0], c[1], c[2], c[3], c[4], tuple(c[5]) if c[5] is not None else None, *c[6:])
        for c in await tx.query(sql("columns"), oid)
    }
    indexes = tuple(Index(p, u, tuple(names)) for p, u, names in await tx.query(sql("indexes"), oid))
    return Relation(
        oid, nsp, name, kind, rows, size, security, usage, role, read_only, tuple(partition or ()), columns, indexes
    )


async def read_database(tx: Transaction, url: str) -> tuple[str, str]:
    """The server and its database. The server's identifier is the same on standbys, behind poolers and under other host names.
    Where the role may not read it, host and port of the URL replace it."""
    [(database, allowed)] = await tx.query(sql("database"))
    if allowed:
        [(server,)] = await tx.query("SELECT system_identifier::text FROM pg_control_system()")
    else:
        parts = conninfo_to_dict(url.strip())
        server = f"{parts.get('host') or parts.get('hostaddr') or ''}:{parts.get('port') or 5432}"
    return str(server), str(database)


async def is_part(tx: Transaction, relation: Relation, archive: Relation | None) -> bool:
    """Whether rows of the archive are rows of the table: it is a partition, a child or a view of it, or has it as a partition."""
    return archive is not None and bool((await tx.query(sql("part"), relation.oid, archive.oid))[0][0])


def _missing(schema: str | None, table: str, names: list[tuple[str, str]], where: str) -> SweepFailure:
    wanted = f"{schema}.{table}" if schema else table
    elsewhere = sorted(s for s, n in names if n == table)
    if elsewhere:
        fix = f"write {where} {elsewhere[0]}.{table}" if where.startswith("--") else f"set {where}.schema"
        hint = f'; there is one in schema "{elsewhere[0]}": {fix}'
    else:
        inside = [n for s, n in names if schema in (None, s)]
        # A schema without tables is likely a typo itself.
        hint = did_you_mean(table, inside) if inside else did_you_mean(wanted, [f"{s}.{n}" for s, n in names])
    return SweepFailure("TableMissing", f'there is no table "{wanted}"{hint or f". Correct {where}, or create it."}')
