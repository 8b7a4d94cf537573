"""The SQL of conditions that only PostgreSQL has: literals, and comparisons with the cutoff. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubesweep.api.plan import Match
from kubesweep_worker.sources.conditions import SIGNS, column, parenthesised, quote_text
from kubesweep_worker.sources.epochs import MICROSECONDS, exact, floor

# Other programs may write to the queue, so a cutoff may be forged: nothing is stale by a time that the database's clock has not reached.
NEARER = {"before": "LEAST", "after": "GREATEST"}
LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


def quote_pg(text: str) -> str:
    """A string literal that means the same whether standard_conforming_strings is on or off."""
    if "\\" not in text:
        return quote_text(text)
    return " E" + quote_text(text.replace("\\", "\\\\"))


@dataclass(frozen=True, slots=True)
class PostgresDialect:
    """``types``: the columns' types without length, because a cast to varchar(3) truncates without an error."""

    types: Mapping[str, str]
    zone: str = "UTC"

    def value(self, name: str, text: str) -> str:
        return f"{quote_pg(text)}::{self.types[name]}"

    def values(self, name: str, texts: Sequence[str]) -> str:
        return ", ".join(self.value(name, text) for text in texts)

    def when(self, match: Match, cutoff: str) -> str:
        name, sign = column(match.column), SIGNS[match.op]
        if match.unit:
            return self._number(match, cutoff)
        instant = f"{NEARER[match.op]}({quote_pg(cutoff)}::timestamptz, now())"
        if match.offset:
            instant = f"{instant} - '{match.offset:.6f} seconds'::interval"
        if self.types[match.column] == "timestamp with time zone":
            return f"{name} {sign} {instant}"
        naive = f"{name} {sign} ({instant}) AT TIME ZONE {quote_pg(self.zone)}"
        if self.zone == "UTC":
            return naive
        # The first comparison can use an index. For a local time that occurs twice, PostgreSQL assumes the later one.
        return f"{naive} AND {name}::timestamp AT TIME ZONE {quote_pg(self.zone)} {sign} {instant}"

    def _number(self, match: Match, cutoff: str) -> str:
        """Compares with a constant of the column's type, so that its index can be used. One that the type cannot represent means all
        rows or none."""
        name, sign, kind = column(match.column), SIGNS[match.op], self.types[match.column]
        moment = floor(cutoff, match.offset, match.unit)
        now = f"extract(epoch FROM now() - '{match.offset:.6f} seconds'::interval) * {1_000_000 // MICROSECONDS[match.unit]}"
        if kind in LARGEST:
            most, now = LARGEST[kind], f"floor({now})::bigint"
            if -most - 1 <= moment <= most:
                return f"{name} {sign} {NEARER[match.op]}('{moment}'::bigint, {now})"
            return f"{name} {sign} {now}" if (moment > 0) is (match.op == "before") else "false"
        number, now = (
            (str(moment), f"floor({now})") if match.op == "before" else (exact(cutoff, match.offset, match.unit), now)
        )
        wide = "numeric" if kind == "numeric" else "double precision"
        # NaN is greater than any number in PostgreSQL.
        return f"{name} {sign} {NEARER[match.op]}('{number}'::{wide}, ({now})::{wide}) AND {name} <> 'NaN'::{wide}"

    def since(self, match: Match) -> str:
        """When a row met a ``before`` condition, in seconds since 1970."""
        name = column(match.column)
        if match.unit:
            seconds = f"{name}::float8 * {MICROSECONDS[match.unit]} / 1000000"
        elif self.types[match.column] == "timestamp with time zone":
            seconds = f"extract(epoch FROM {name})::float8"
        else:
            seconds = f"extract(epoch FROM {name}::timestamp AT TIME ZONE {quote_pg(self.zone)})::float8"
        return f"{seconds} + {match.offset:.6f}"

    def compare(self, match: Match) -> str:
        return f"{column(match.column)} {SIGNS[match.op]} {self.value(match.column, match.values[0])}"

    def expression(self, sql: str, cutoff: str) -> str:
        return parenthesised(sql, f"LEAST({quote_pg(cutoff)}::timestamptz, now())")
