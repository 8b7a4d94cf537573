"""How a column of an archive converts a value, by the two types."""

from __future__ import annotations

import pytest

from kubesweep_worker.sources.archive_types import Conversion, conversion, sqlite_conversion

EXACT, MAY_CHANGE, LOSSY = Conversion.EXACT, Conversion.MAY_CHANGE, Conversion.LOSSY
POSTGRES = [
    ("integer", "integer", EXACT),
    ("integer", "bigint", EXACT),
    ("bigint", "integer", MAY_CHANGE),
    ("integer", "numeric", EXACT),
    ("bigint", "numeric(10,0)", MAY_CHANGE),
    ("integer", "numeric(12,2)", EXACT),
    ("integer", "numeric(10,2)", MAY_CHANGE),
    ("numeric", "integer", LOSSY),
    ("numeric(10,2)", "numeric(12,2)", EXACT),
    ("numeric(10,2)", "numeric(12,1)", LOSSY),
    ("numeric(10,2)", "numeric(9,2)", MAY_CHANGE),
    ("numeric", "numeric(12,2)", LOSSY),
    ("numeric", "double precision", LOSSY),
    ("integer", "double precision", EXACT),
    ("bigint", "double precision", LOSSY),
    ("double precision", "real", LOSSY),
    ("real", "double precision", EXACT),
    ("double precision", "numeric", LOSSY),
    ("text", "character varying", EXACT),
    ("text", "character varying(9)", MAY_CHANGE),
    ("character varying(9)", "character varying(20)", EXACT),
    ("character varying(20)", "character varying(9)", MAY_CHANGE),
    ("uuid", "text", EXACT),
    ("text", "uuid", MAY_CHANGE),
    ("jsonb", "json", MAY_CHANGE),
    ("timestamp with time zone", "date", LOSSY),
    ("timestamp without time zone", "date", LOSSY),
    ("timestamp with time zone", "timestamp without time zone", MAY_CHANGE),
    ("timestamp with time zone", "timestamp(0) with time zone", LOSSY),
    ("timestamp(3) with time zone", "timestamp(3) with time zone", EXACT),
    ("timestamp(0) with time zone", "timestamp(3) with time zone", EXACT),
    ("timestamp with time zone", "text", MAY_CHANGE),
    ("interval", "time without time zone", LOSSY),
    ("time with time zone", "time without time zone", LOSSY),
    ("interval", "interval(0)", LOSSY),
    ("numeric(10,4)", "money", LOSSY),
    ("inet", "cidr", LOSSY),
    ("text", "name", LOSSY),
    ("text", '"char"', LOSSY),
    ("date", "timestamp without time zone", EXACT),
    ("integer[]", "bigint[]", EXACT),
    ("numeric[]", "integer[]", LOSSY),
]


@pytest.mark.parametrize(("source", "target", "expected"), POSTGRES)
def test_what_becomes_of_a_value(source: str, target: str, expected: Conversion) -> None:
    assert conversion(source, target) is expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("TEXT", "TEXT", EXACT),
        ("TEXT", "INTEGER", LOSSY),
        ("TEXT", "NUMERIC", LOSSY),
        ("INTEGER", "TEXT", EXACT),
        ("INTEGER", "NUMERIC", EXACT),
        ("INTEGER", "REAL", LOSSY),
        ("REAL", "INTEGER", EXACT),
        ("BLOB", "TEXT", EXACT),
        ("TEXT", "BLOB", EXACT),
    ],
)
def test_what_becomes_of_a_value_by_affinity(source: str, target: str, expected: Conversion) -> None:
    assert sqlite_conversion(source, target) is expected
