from __future__ import annotations

import pytest

from kubesweep.sql_layout import laid_out


def test_each_clause_has_a_line_of_its_own() -> None:
    sql = """UPDATE "t" AS t SET "a" = 'x' WHERE t."b" IN ('p', 'q') AND t."c" < 5 RETURNING 1"""
    assert laid_out(sql).split("\n") == [
        'UPDATE "t" AS t', """SET "a" = 'x'""", """WHERE t."b" IN ('p', 'q')""", '  AND t."c" < 5', "RETURNING 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        """SELECT ' FROM WHERE AND ' FROM "a WHERE b" WHERE x = 'it''s AND so' LIMIT 1""",
        "WITH s AS (SELECT 1 FROM a WHERE b AND (c AND (d AND e)) LIMIT 5) SELECT count(*) FROM s",
        "SELECT (\nx AND y\n) FROM t",
        "",
    ],
)
def test_only_spaces_become_line_breaks(sql: str) -> None:
    laid = laid_out(sql)
    assert laid.split() == sql.split()
    for literal in ("' FROM WHERE AND '", '"a WHERE b"', "'it''s AND so'"):
        assert (literal in sql) == (literal in laid)


@pytest.mark.parametrize("sql", ["SELECT 1 -- x\nFROM t", "SELECT /* a */ 1 FROM t", "SELECT $$ FROM $$ FROM t"])
def test_sql_with_comments_or_dollar_quotes_is_left_alone(sql: str) -> None:
    assert laid_out(sql) == sql
