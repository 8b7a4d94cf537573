"""The cells of the matrix: for each column type its values, and conditions with the equivalent plain SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Conditions = tuple[tuple[dict[str, Any], str], ...]


@dataclass(frozen=True)
class Kind:
    """A column ``v`` of ``type``. ``values`` are SQL; NULL is always among them."""

    type: str
    values: tuple[str, ...]
    conditions: Conditions = ()

    @property
    def all_conditions(self) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"isNull": True}, "v IS NULL"
        yield {"isNull": False}, "v IS NOT NULL"
        yield from self.conditions


def listed(texts: list[Any], plain: str) -> Conditions:
    return ({"in": texts}, f"v IN ({plain})"), ({"notIn": texts}, f"v NOT IN ({plain})")


def ordered(text: Any, plain: str) -> Conditions:
    return ({"lessThan": text}, f"v < {plain}"), ({"greaterThan": text}, f"v > {plain}")


def by_sql(sql: str) -> Conditions:
    return (({"sql": sql}, sql.replace(":cutoff", "now()")),)


def timed(hour_ago: str, **also: str) -> Conditions:
    """``hour_ago``: the SQL expression of that time in the column's type."""
    return ({"before": "now-1h", **also}, f"v < {hour_ago}"), ({"after": "now-1h", **also}, f"v > {hour_ago}")


SMALL = ("-32768", "-1", "0", "1", "7", "32767")
HOURS = (
    -9000,
    -30,
    -2,
    0,
    2,
    9000,
)  # from now: the nearest is an hour from where a condition of an hour draws its line
MOMENTS = tuple(f"now() + interval '{hours} hours'" for hours in HOURS)
FAR = ("'infinity'", "'-infinity'")
EPOCH = "extract(epoch FROM now() - interval '1 hour')"
EPOCHS = tuple(f"extract(epoch FROM {moment})" for moment in MOMENTS)
UTC_AGO = "((now() - interval '1 hour') AT TIME ZONE 'UTC')"

POSTGRES = (
    Kind("smallint", SMALL, listed([7, "-1"], "7, -1") + ordered("0", "0")),
    Kind("integer", (*SMALL, "-2147483648"), listed([7, "0"], "7, 0") + ordered("7", "7") + by_sql("t.v % 2 = 1")),
    Kind("bigint", (*SMALL, "9223372036854775807"), listed([7], "7") + ordered("9007199254740993", "9007199254740993")),
    Kind(
        "bigint",
        tuple(f"({each} * 1000)::bigint" for each in EPOCHS),
        timed(f"({EPOCH} * 1000)", unit="milliseconds"),
    ),
    Kind("integer", tuple(f"{each}::integer" for each in EPOCHS), timed(EPOCH, unit="seconds")),
    Kind(
        "numeric",
        (*SMALL, "1.10", "123456789012345678901234567890.5", "'NaN'"),
        listed(["1.1", 7], "1.1, 7") + ordered("1.1", "1.1"),
    ),
    Kind("numeric(18,6)", EPOCHS, timed(EPOCH, unit="seconds")),
    Kind("real", (*SMALL, "0.1", "'NaN'", "'-infinity'"), listed(["0.1"], "0.1::real") + ordered("0.1", "0.1::real")),
    Kind("double precision", (*SMALL, "0.1", "1e300", "'NaN'"), listed(["0.1", "1e300"], "0.1, 1e300") + ordered("0.1", "0.1")),
    Kind("double precision", EPOCHS, timed(EPOCH, unit="seconds")),
    Kind("boolean", ("true", "false"), listed(["true"], "true") + ordered("true", "true") + by_sql("t.v")),
    Kind("text", ("''", "'a'", "'A'", "'é'", "E'it''s \\\\ \"x\"'", "'NULL'", "'1'"), listed(["a", "", "it's \\ \"x\""], "'a', '', E'it''s \\\\ \"x\"'") + ordered("a", "'a'")),
    Kind("varchar(4)", ("''", "'a'", "'abcd'", "'é'"), listed(["abcd", "abcde"], "'abcd'") + ordered("b", "'b'")),
    Kind("char(4)", ("'a'", "'abcd'", "''"), listed(["a", "abcd"], "'a', 'abcd'") + ordered("ab", "'ab'")),
    Kind("mood", ("'sad'", "'ok'", "'glad'"), listed(["ok", "glad"], "'ok', 'glad'") + ordered("ok", "'ok'::mood")),
    Kind(
        "uuid",
        tuple(f"'{n:08x}-0000-4000-8000-000000000000'" for n in (0, 1, 255)),
        listed(["00000001-0000-4000-8000-000000000000", "000000FF-0000-4000-8000-000000000000"], "'00000001-0000-4000-8000-000000000000', '000000ff-0000-4000-8000-000000000000'")
        + ordered("00000001-0000-4000-8000-000000000000", "'00000001-0000-4000-8000-000000000000'::uuid"),
    ),
    Kind("date", (*(f"({each})::date" for each in MOMENTS[:2] + MOMENTS[-1:]), *FAR), timed(UTC_AGO) + ordered("2020-01-01", "date '2020-01-01'")),
    Kind("timestamp", (*(f"({each}) AT TIME ZONE 'UTC'" for each in MOMENTS), *FAR), timed(UTC_AGO) + ordered("2020-01-01 00:00", "timestamp '2020-01-01'")),
    Kind("timestamptz(3)", (*MOMENTS, *FAR), timed("now() - interval '1 hour'") + listed(["infinity"], "'infinity'") + by_sql("t.v < :cutoff - interval '1 hour'")),
    Kind("time", ("'00:00'", "'12:00:00.5'", "'24:00'"), listed(["12:00:00.5", "24:00"], "'12:00:00.5', '24:00'") + ordered("12:00", "time '12:00'")),
    Kind("interval", ("'1 day'", "'24 hours'", "'-3 mons'", "'0'"), listed(["24:00:00"], "'24 hours'") + ordered("1 hour", "interval '1 hour'")),
    Kind("bytea", ("''", "'\\x00ff'", "'\\x61'"), listed(["\\x61", "\\x00ff"], "'\\x61', '\\x00ff'") + ordered("\\x01", "'\\x01'::bytea")),
    Kind("inet", ("'10.0.0.1'", "'10.0.0.0/8'", "'::1'"), listed(["10.0.0.1", "::1"], "'10.0.0.1', '::1'") + ordered("10.0.0.1", "'10.0.0.1'::inet")),
    Kind("jsonb", ("'null'", "'{\"a\": 1}'", "'[]'"), by_sql("t.v ? 'a'") + by_sql("t.v->>'a' = '1'")),
    Kind("text[]", ("'{}'", "'{a,NULL}'"), by_sql("'a' = ANY (t.v)")),
    Kind("short", ("'a'", "'b'"), listed(["a"], "'a'")),
)  # fmt: skip

LITE_AGO = "julianday('now', '-1 hour')"
LITE_MOMENTS = tuple(f"'now', '{hours} hours'" for hours in HOURS)
UNIX = tuple(f"CAST(strftime('%s', {each}) AS INTEGER)" for each in LITE_MOMENTS)
UNIX_AGO = "CAST(strftime('%s', 'now', '-1 hour') AS INTEGER)"


def read(hour_ago: str, expression: str) -> Conditions:
    return ({"before": "now-1h"}, f"{expression} < {hour_ago}"), ({"after": "now-1h"}, f"{expression} > {hour_ago}")


SQLITE = (
    Kind("INTEGER", (*SMALL, "9223372036854775807"), listed([7, "-1"], "7, -1") + ordered("0", "0") + by_sql("t.v % 2 = 1")),
    Kind("BIGINT", tuple(f"{each} * 1000" for each in UNIX), timed(f"{UNIX_AGO} * 1000", unit="milliseconds")),
    Kind("INTEGER", UNIX, timed(UNIX_AGO) + timed(UNIX_AGO, unit="seconds")),
    Kind("REAL", (*SMALL, "0.1", "1e300"), listed(["0.1", 7], "0.1, 7") + ordered("0.1", "0.1")),
    Kind("DECIMAL(10,2)", (*SMALL, "1.10"), listed(["1.1", 7], "1.1, 7") + ordered("1.1", "1.1")),
    Kind("BOOLEAN", ("1", "0"), listed(["true"], "1") + by_sql("t.v")),
    Kind("TEXT", ("''", "'a'", "'A'", "'é'", "'it''s \\ \"x\"'", "'NULL'", "'1'"), listed(["a", "", "it's \\ \"x\""], "'a', '', 'it''s \\ \"x\"'") + ordered("a", "'a'")),
    Kind("VARCHAR(4)", ("''", "'a'", "'abcd'", "'12'"), listed(["abcd", "12"], "'abcd', '12'") + ordered("b", "'b'")),
    Kind("DATETIME", tuple(f"datetime({each})" for each in LITE_MOMENTS), read(LITE_AGO, "julianday(v)") + by_sql("t.v < datetime('now', '-1 hour')")),
    Kind("TIMESTAMP", tuple(f"strftime('%Y-%m-%dT%H:%M:%fZ', {each})" for each in LITE_MOMENTS), read(LITE_AGO, "julianday(v)")),
    Kind("TEXT", tuple(f"strftime('%Y-%m-%d %H:%M:%f', {each}, '2 hours') || '+0200'" for each in LITE_MOMENTS), read("julianday('now', '+1 hours')", "julianday(substr(v, 1, 23))")),
    Kind("DATE", tuple(f"date({each})" for each in LITE_MOMENTS[:2] + LITE_MOMENTS[-1:]), read(LITE_AGO, "julianday(v)")),
    Kind("CHAR(32)", ("'00000001000040008000000000000000'", "'000000ff000040008000000000000000'"), listed(["000000ff000040008000000000000000"], "'000000ff000040008000000000000000'")),
    Kind("BLOB", ("x''", "x'00ff'"), by_sql("length(t.v) = 2")),
    Kind("", ("1", "'1'", "'a'", "2.5", "x'61'"), listed(["1", "a"], "1, '1', 'a'")),
)  # fmt: skip
