"""Do pages and memory of a sweep grow with its stale rows, or with the table?

    python -m bench.growth                              # as in RESULTS.md: minutes, and 8 GB of disk
    python -m bench.growth --rows 20000 --stale 100     # seconds

One unlogged table with narrow rows grows to each size. At each size rows that are spread evenly over the table turn stale
and are swept, so nothing but the number of rows differs between the runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from bench import kubesweep_sweep
from bench.pages import PageAccess, measure_pages
from bench.servers import Server, postgres

SIZES, STALE = (1_000_000, 10_000_000, 50_000_000), (1_000, 10_000, 100_000)
SIZE = kubesweep_sweep.Size(2)
TABLE = """
    CREATE UNLOGGED TABLE conversations (
        id bigint NOT NULL, status text NOT NULL, expires_at timestamptz NOT NULL, closed_at timestamptz
    );
    CREATE INDEX ON conversations (expires_at) WHERE status IN ('pending', 'progress');
"""
GROW = """
    ALTER TABLE conversations DROP CONSTRAINT IF EXISTS conversations_pkey;
    INSERT INTO conversations
    SELECT n, 'closed', now() - interval '1 hour', NULL
    FROM generate_series((SELECT coalesce(max(id), 0) + 1 FROM conversations), {rows}::bigint) AS n;
    ALTER TABLE conversations ADD PRIMARY KEY (id);
"""
TURN_STALE = """
    UPDATE conversations SET status = 'pending'
    WHERE id IN (SELECT n * {rows}::bigint / {stale} FROM generate_series(1, {stale}) AS n)
"""
# Without it, one sweep would read the dead index entries of the one before.
CLEAN = "VACUUM (FREEZE, ANALYZE, INDEX_CLEANUP on) conversations"


def run_all(connection: psycopg.Connection[Any], script: str) -> None:
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement.encode())


def measure(server: Server, sizes: Sequence[int], stale: Sequence[int]) -> Iterator[tuple[int, PageAccess]]:
    """Yields the rows of the table and what a sweep accessed."""
    database = server.template()
    with server.connect(database) as connection:
        run_all(connection, TABLE)
    for rows in sorted(sizes):
        with server.connect(database) as connection:
            run_all(connection, GROW.format(rows=rows))
        for few in stale:
            with server.connect(database) as connection:
                connection.execute(CLEAN)
                connection.execute(TURN_STALE.format(rows=rows, stale=few).encode())
                connection.execute(CLEAN)
            found = measure_pages(server, database, SIZE)
            if found.stale != few:
                raise RuntimeError(f"{found.stale} rows were written where {few} were stale")
            yield rows, found


def line(rows: int, found: PageAccess) -> str:
    """A line of the report's table."""
    figures = [f"{n:,}" for n in (rows, found.stale, found.table_pages, found.heap, found.index)]
    return f"| {' | '.join(figures)} | {found.per_row:.1f} | {found.memory / 2**20:.0f} | {found.seconds:.2f} |"


def report(sizes: Sequence[int], stale: Sequence[int]) -> str:
    """The report as Markdown."""
    lines = [
        "| rows | stale | pages of the table | table accesses | index accesses | accesses a stale row | worker, MiB | seconds |"
    ]
    lines += ["|---:|---:|---:|---:|---:|---:|---:|---:|"]
    with postgres() as server:
        for rows, found in measure(server, sizes, stale):
            lines.append(line(rows, found))
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> str:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help="sizes of the table")
    parser.add_argument("--stale", type=int, nargs="+", default=STALE, help="numbers of stale rows")
    given = parser.parse_args(arguments)
    return report(given.rows, given.stale)


if __name__ == "__main__":
    print(main(sys.argv[1:]))
