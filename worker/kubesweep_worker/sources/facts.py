"""What ``kubesweep init`` reads about a table before there is a plan. Each database has a reader: postgres/facts.py, sqlite/facts.py.

Readers change nothing and take a few seconds at most: counts and values come from the database's statistics, or from a bounded number
of rows. What the role may not read, or what takes too long, is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from kubesweep.api.database_url import usable_url
from kubesweep_worker.sources.children import Child
from kubesweep_worker.sources.conditions import quote_name
from kubesweep_worker.sources.epochs import unit_of

MOST_VALUES = 20  # different values of a column that are listed
SAMPLE = 10_000  # rows that are counted where the database has no statistics
NUMBERS = 100  # values that are read to see whether numbers are times
LISTED = re.compile(r"(status|state|phase|stage)$", re.IGNORECASE)
# Names of columns whose numbers may be times. The numbers decide.
TIMED = re.compile(
    r"(at|on|time|date|timestamp|expir\w*|seen|until|since|ts|ms|created|updated|modified)$", re.IGNORECASE
)

Moment = Literal["", "zoned", "naive", "date", "number"]


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    name: str
    type: str
    not_null: bool = True
    moment: Moment = ""  # how its values are times; empty: they are none
    unit: str = ""  # of a number: seconds, milliseconds or microseconds
    choices: tuple[str, ...] = ()  # all values that an enum or a check constraint allows
    counts: Mapping[str, int] | None = None  # about how many rows have each value, where there are few values
    writable: bool = True

    @property
    def values(self) -> tuple[str, ...]:
        return self.choices or tuple(self.counts or ())


@dataclass(frozen=True, slots=True)
class TableFacts:
    database: Literal["postgresql", "sqlite"]
    table: str
    columns: Mapping[str, ColumnFacts]
    schema: str | None = None
    rows: int = -1  # about; -1: unknown
    primary: tuple[str, ...] = ()
    keys: tuple[tuple[str, ...], ...] = ()  # of up to four unique NOT NULL columns, the primary key first
    indexes: tuple[tuple[str, ...], ...] = ()
    partitioned: bool = False
    children: tuple[Child, ...] = ()
    time_zone: str = "UTC"  # of the role, in which it writes times without a zone

    @property
    def quoted(self) -> str:
        return ".".join(quote_name(name) for name in (self.schema, self.table) if name)

    def create_index(self, columns: tuple[str, ...]) -> str:
        """A statement that creates an index of these columns."""
        if self.database == "sqlite":
            from kubesweep_worker.sources.sqlite.inspection import create_index as create_lite

            return create_lite(self.table, columns)
        from kubesweep_worker.sources.postgres.checks.warnings import create_index

        return create_index(self.quoted, columns, partitioned=self.partitioned)


async def read_facts(url: str, schema: str | None, table: str) -> TableFacts:
    """Raises SweepFailure (UrlInvalid, TableMissing, NotATable) and Outage."""
    url = usable_url(url)
    if url.startswith("sqlite:"):
        from kubesweep_worker.sources.sqlite.facts import read_sqlite

        return await read_sqlite(url, schema, table)
    from kubesweep_worker.sources.postgres.facts import read_postgres

    return await read_postgres(url, schema, table)


def epoch_unit(name: str, values: Iterable[float]) -> str:
    """The unit of a column's numbers if they are times; empty if they are none."""
    return (unit_of(values) or "") if TIMED.search(name) else ""


def listed(definition: str) -> tuple[str, ...]:
    """The texts in a list of SQL, such as that of a check constraint: ``IN ('a', 'b')``, or ``= ANY (ARRAY['a'::text])``."""
    found = re.search(r"\bIN\s*\(([^()]*)\)|=\s*ANY\s*\(+\s*ARRAY\[([^\]]*)\]", definition, re.IGNORECASE)
    texts = re.findall(r"'((?:[^']|'')*)'", found[1] or found[2] or "") if found else []
    return tuple(dict.fromkeys(text.replace("''", "'") for text in texts))
