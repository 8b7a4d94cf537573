"""How fast is a sweep of other tables and other writes, compared with one statement for the same rows?

    python -m bench.shapes                # as in RESULTS.md: minutes
    python -m bench.shapes --smoke        # seconds; the figures mean nothing

Every run starts from a copy of the shape's database. The statement and the sweep take turns, and medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bench import kubesweep_sweep
from bench.servers import Server, postgres
from kubesweep.api.plan import Archive, Assignment, Match, Plan, RowLimits, Source, Write
from kubesweep.queue.model import ScheduleRef

STALE = "status = 'pending' AND expires_at < now()"
UPDATE = "UPDATE things SET status = 'expired', closed_at = now() WHERE " + STALE
DELETE = "DELETE FROM things WHERE " + STALE
ARCHIVE = f"WITH gone AS ({DELETE} RETURNING *) INSERT INTO archive SELECT * FROM gone"
EXPIRE = Write(update=(Assignment("status", value="expired"), Assignment("closed_at", sql="now()")))
COLUMNS = ", ".join(f"a{n} int NOT NULL" for n in range(1, 7))
PARTITIONS = 10


@dataclass(frozen=True, slots=True)
class Shape:
    """A table and a write. ``key``: each key column, its type, and its value for row ``n``. ``indexes``: besides the key's; the
    first one serves the match. ``body``: bytes of a further column."""

    name: str
    write: Write = EXPIRE
    statement: str = UPDATE
    key: tuple[tuple[str, str, str], ...] = (("id", "bigint", "n"),)
    indexes: int = 1
    body: int = 100
    partitioned: bool = False

    @property
    def key_columns(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self.key)

    def plan(self, size: kubesweep_sweep.Size) -> Plan:
        return Plan(
            namespace="default",
            name="shape",
            uid=ScheduleRef.local("default", "shape").uid,
            source=Source(schema="public", table="things", key=self.key_columns),
            match=(Match(op="in", column="status", values=("pending",)), Match(op="before", column="expires_at")),
            write=self.write,
            limits=RowLimits(batch_rows=size.batch_rows),
            concurrency=size.concurrency,
            max_replicas=size.workers,
        )


SHAPES = (
    Shape("update"),
    Shape("delete", Write(), DELETE),
    Shape("delete with an archive", Write(archive=Archive("archive")), ARCHIVE),
    Shape("update, rows of 2 kB", body=1900),
    Shape("update, no index but the key's", indexes=0),
    Shape("update, 3 indexes", indexes=3),
    Shape("update, 6 indexes", indexes=6),
    Shape("update, text key in random order", key=(("token", "text", "md5(n::text)"),)),
    Shape("update, key of two columns", key=(("tenant", "int", "n % 50"), ("number", "bigint", "n"))),
    Shape(f"update, {PARTITIONS} partitions", partitioned=True),
)


@dataclass(frozen=True, slots=True)
class Options:
    rows: int = 200_000
    stale: float = 0.5  # share
    rounds: int = 3
    size: kubesweep_sweep.Size = field(default_factory=lambda: kubesweep_sweep.Size(2))


SMOKE = Options(rows=5_000, rounds=1)


@dataclass(slots=True)
class Figures:
    """Rows/s, one figure a round."""

    shape: Shape
    statement: list[float] = field(default_factory=list)
    sweep: list[float] = field(default_factory=list)

    @property
    def line(self) -> str:
        statement, sweep = statistics.median(self.statement), statistics.median(self.sweep)
        return f"| {self.shape.name} | {statement:,.0f} | {sweep:,.0f} | {sweep / statement:.2f} |"


def ddl(shape: Shape, rows: int) -> list[str]:
    """The statements that create the table and its archive. Partitions divide ``rows`` rows evenly by the key."""
    keys = ", ".join(f"{name} {type_} NOT NULL" for name, type_, _ in shape.key)
    columns = f"{keys}, status text NOT NULL, expires_at timestamptz NOT NULL, closed_at timestamptz, {COLUMNS}, body text NOT NULL"
    by = f" PARTITION BY RANGE ({shape.key_columns[0]})" if shape.partitioned else ""
    made = [f"CREATE TABLE things ({columns}){by}", f"CREATE TABLE archive ({columns})"]
    width = -(-rows // PARTITIONS)
    for part in range(PARTITIONS if shape.partitioned else 0):
        limits = f"({part * width + 1}) TO ({(part + 1) * width + 1})"
        made.append(f"CREATE TABLE things_{part} PARTITION OF things FOR VALUES FROM {limits}")
    return made


def indexes(shape: Shape) -> list[str]:
    made = [f"ALTER TABLE things ADD PRIMARY KEY ({', '.join(shape.key_columns)})"]
    if shape.indexes:
        made.append("CREATE INDEX ON things (expires_at) WHERE status = 'pending'")
    return made + [f"CREATE INDEX ON things (a{n})" for n in range(1, shape.indexes)]


def build(server: Server, shape: Shape, options: Options) -> int:
    """Fill the template. Returns how many rows are stale."""
    values = [*(value for _, _, value in shape.key), "CASE WHEN stale THEN 'pending' ELSE 'closed' END"]
    values += ["now() - interval '1 hour'", "NULL", *(f"(n / {10**k})::int" for k in range(6))]
    share = f"(hashint8(n)::bigint & 2147483647) % 1000000 < {round(options.stale * 1e6)}"
    drawn = f"SELECT n, {share} AS stale FROM generate_series(1, {options.rows}::bigint) AS n"
    with server.connect(server.template()) as connection:
        for statement in ddl(shape, options.rows):
            connection.execute(statement.encode())
        body = f"repeat('x', {shape.body})"
        connection.execute(f"INSERT INTO things SELECT {', '.join(values)}, {body} FROM ({drawn}) AS drawn".encode())
        for statement in (*indexes(shape), "VACUUM (FREEZE, ANALYZE) things"):
            connection.execute(statement.encode())
        row = connection.execute(f"SELECT count(*) FROM things WHERE {STALE}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def run_statement(server: Server, database: str, shape: Shape) -> tuple[int, float]:
    """Returns rows and seconds."""
    with server.connect(database) as connection:
        began = time.perf_counter()
        rows = connection.execute(shape.statement.encode()).rowcount
        return rows, time.perf_counter() - began


def run_sweep(server: Server, database: str, shape: Shape, size: kubesweep_sweep.Size) -> tuple[int, float]:
    """Returns rows and seconds."""
    done = kubesweep_sweep.measure(server.url(database), shape.plan(size))
    return done.rows, done.seconds


def contest(server: Server, shape: Shape, options: Options) -> Figures:
    """Measure both, in turns, and each of them first in half of the rounds."""
    stale, figures = build(server, shape, options), Figures(shape)
    for turn in range(options.rounds):
        for swept in (False, True) if turn % 2 == 0 else (True, False):
            with server.fresh() as name:
                with server.connect(name) as connection:
                    connection.execute("SELECT count(*), sum(length(body)) FROM things")  # into memory
                rows, seconds = (
                    run_sweep(server, name, shape, options.size) if swept else run_statement(server, name, shape)
                )
            if rows != stale:
                raise RuntimeError(f"{shape.name}: {rows} rows were written where {stale} were stale")
            (figures.sweep if swept else figures.statement).append(rows / seconds)
    return figures


def measure(options: Options, shapes: Sequence[Shape] = SHAPES) -> str:
    """The report as Markdown."""
    lines = ["| shape | one statement, rows/s | sweep, rows/s | x one statement |", "|---|---:|---:|---:|"]
    with postgres() as server:
        for shape in shapes:
            lines.append(contest(server, shape, options).line)
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench.shapes", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--smoke", action="store_true", help="tiny tables, one round: shows that everything runs")
    parser.add_argument("--rows", type=int, help="rows of each table")
    parser.add_argument("--stale", type=float, help="the share of stale rows")
    parser.add_argument("--rounds", type=int, help="turns of statement and sweep")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    return replace(SMOKE if given.pop("smoke") else Options(), **given)


if __name__ == "__main__":
    print(measure(parse(sys.argv[1:])))
