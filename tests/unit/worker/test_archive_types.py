"""What a column of an archive makes of a value, told from the two types."""

from __future__ import annotations

import pytest

from kubesweep_worker.sources.archive_types import Conversion, conversion, sqlite_conversion

KEPT, TOLD, LOSSY = Conversion.KEPT, Conversion.TOLD, Conversion.LOSSY
POSTGRES = [
    ("integer", "integer", KEPT),
    ("integer", "bigint", KEPT),
    ("bigint", "integer", TOLD),
    ("integer", "numeric", KEPT),
    ("bigint", "numeric(10,0)", TOLD),
    ("integer", "numeric(12,2)", KEPT),
    ("integer", "numeric(10,2)", TOLD),
    ("numeric", "integer", LOSSY),
    ("numeric(10,2)", "numeric(12,2)", KEPT),
    ("numeric(10,2)", "numeric(12,1)", LOSSY),
    ("numeric(10,2)", "numeric(9,2)", TOLD),
    ("numeric", "numeric(12,2)", LOSSY),
    ("numeric", "double precision", LOSSY),
    ("integer", "double precision", KEPT),
    ("bigint", "double precision", LOSSY),
    ("double precision", "real", LOSSY),
    ("real", "double precision", KEPT),
    ("double precision", "numeric", LOSSY),
    ("text", "character varying", KEPT),
    ("text", "character varying(9)", TOLD),
    ("character varying(9)", "character varying(20)", KEPT),
    ("character varying(20)", "character varying(9)", TOLD),
    ("uuid", "text", KEPT),
    ("text", "uuid", TOLD),
    ("jsonb", "json", TOLD),
    ("timestamp with time zone", "date", LOSSY),
    ("timestamp without time zone", "date", LOSSY),
    ("timestamp with time zone", "timestamp without time zone", TOLD),
    ("timestamp with time zone", "timestamp(0) with time zone", LOSSY),
    ("timestamp(3) with time zone", "timestamp(3) with time zone", KEPT),
    ("timestamp(0) with time zone", "timestamp(3) with time zone", KEPT),
    ("timestamp with time zone", "text", TOLD),
    ("interval", "time without time zone", LOSSY),
    ("time with time zone", "time without time zone", LOSSY),
    ("interval", "interval(0)", LOSSY),
    ("numeric(10,4)", "money", LOSSY),
    ("inet", "cidr", LOSSY),
    ("text", "name", LOSSY),
    ("text", '"char"', LOSSY),
    ("date", "timestamp without time zone", KEPT),
    ("integer[]", "bigint[]", KEPT),
    ("numeric[]", "integer[]", LOSSY),
]


@pytest.mark.parametrize(("source", "target", "expected"), POSTGRES)
def test_what_becomes_of_a_value(source: str, target: str, expected: Conversion) -> None:
    assert conversion(source, target) is expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("TEXT", "TEXT", KEPT),
        ("TEXT", "INTEGER", LOSSY),
        ("TEXT", "NUMERIC", LOSSY),
        ("INTEGER", "TEXT", KEPT),
        ("INTEGER", "NUMERIC", KEPT),
        ("INTEGER", "REAL", LOSSY),
        ("REAL", "INTEGER", KEPT),
        ("BLOB", "TEXT", KEPT),
        ("TEXT", "BLOB", KEPT),
    ],
)
def test_what_becomes_of_a_value_by_affinity(source: str, target: str, expected: Conversion) -> None:
    assert sqlite_conversion(source, target) is expected
