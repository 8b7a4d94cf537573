from __future__ import annotations

import re
import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubesweep.api.models.sql_text import check_sql, substitute_cutoff

_PARTS = (
    "(",
    ")",
    "'",
    '"',
    "`",
    "--",
    "/*",
    "*/",
    "\n",
    ";",
    ":cutoff",
    "::",
    "$$",
    "$a$",
    "a",
    "1",
    " ",
    "''",
    "\\",
    "E'",
)
PIECES = st.lists(st.sampled_from((*_PARTS, "%", "=", "%s", "?", "é", "\0", "$1", "x$y$")), max_size=14).map("".join)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("t.updated_at < :cutoff", "t.updated_at < NOW"),
        (":cutoff", "NOW"),
        ("(:cutoff)::date", "(NOW)::date"),
        ("a::cutoff", "a::cutoff"),
        ("a :: cutoff", "a :: cutoff"),
        (":cutoff::text || ':cutoff'", "NOW::text || ':cutoff'"),
        (":cutoffs = :cutoff_at", ":cutoffs = :cutoff_at"),
        ('":cutoff" = 1', '":cutoff" = 1'),
        ("$$:cutoff$$ = $x$ $$ :cutoff ' $x$", "$$:cutoff$$ = $x$ $$ :cutoff ' $x$"),
        ("a -- :cutoff )\n= :cutoff", "a  \n= NOW"),
        ("a /* :cutoff ( */ = :cutoff", "a   = NOW"),
        ("a = 1 -- the end", "a = 1  "),
        (r"a = E'it\'s ) :cutoff' and b", r"a = E'it\'s ) :cutoff' and b"),
        ("a = 'it''s )' and b", "a = 'it''s )' and b"),
        ("a LIKE '100%' AND b %% 2 = 1 AND c = '%s'", "a LIKE '100%' AND b %% 2 = 1 AND c = '%s'"),
        ("a ? 'key' AND b @> '{}'::jsonb", "a ? 'key' AND b @> '{}'::jsonb"),
        ("pay$tag$ = 1 AND b$tag$ = 2", "pay$tag$ = 1 AND b$tag$ = 2"),
        ("name = 'a:b' AND tags[1:2] = x", "name = 'a:b' AND tags[1:2] = x"),
    ],
)
def test_only_the_bare_placeholder_is_replaced(sql: str, expected: str) -> None:
    assert substitute_cutoff(sql, "NOW") == expected


@pytest.mark.parametrize(
    "sql",
    [
        "1 = 1) OR (1 = 1",
        "(a = 1",
        "a = ')' )",
        "a = 1; DELETE FROM t",
        "a = 'x",
        'a = "x',
        "a = `x",
        "a = $$x",
        "a = $t$x$$",
        "a = E'x\\'",
        "a /* b",
        "a /* b /* c */ */",
        "a = '\0'",
        "",
        "  \n",
        "-- only a comment",
        "/* only a comment */",
    ],
)
def test_text_that_could_leave_its_parentheses_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_sql(sql)
    with pytest.raises(ValueError, match=r"\w"):
        substitute_cutoff(sql, "NOW")


def naive_depth(sql: str) -> list[int]:
    """Nesting after each parenthesis, by a second reading, character by character, of text without comments."""
    depths, depth, at = [], 0, 0
    while at < len(sql):
        char, escapes = sql[at], sql[at : at + 2].lower() == "e'"
        tag = re.match(r"\$([^\W\d]\w*)?\$", sql[at:])
        if escapes or char in "'\"`":
            at += 2 if escapes else 1
            quote = "'" if escapes else char
            while sql[at] != quote or sql[at + 1 : at + 2] == quote:
                at += 2 if sql[at] == quote or (escapes and sql[at] == "\\") else 1
            at += 1
        elif tag:
            at = sql.index(tag.group(), at + len(tag.group())) + len(tag.group())
        elif char.isalpha() or char == "_":
            while sql[at : at + 1].isalnum() or sql[at : at + 1] in ("_", "$"):
                at += 1
        else:
            assert char != ";"
            if char in "()":
                depth += 1 if char == "(" else -1
                depths.append(depth)
            at += 1
    return depths


@given(PIECES)
@example("(')')")
@example("E'\\')'")
@example("a$a$($a$")
@example("$1x$y$;x$y$")
def test_what_is_let_through_is_balanced_and_never_closes_more_than_it_opened(sql: str) -> None:
    try:
        clean = substitute_cutoff(sql, "NOW")
    except ValueError:
        return
    depths = naive_depth(clean)
    assert min(depths, default=0) >= 0
    assert (depths or [0])[-1] == 0


@given(PIECES.filter(lambda sql: "$" not in sql and "\\" not in sql))
@example("1) OR (1")
@example("1 -- )")
def test_sqlite_never_reads_a_condition_beyond_its_parentheses(sql: str) -> None:
    """``0 AND (<sql>)`` selects nothing, whatever the text, or is refused by the database."""
    try:
        condition = substitute_cutoff(sql, "1")
    except ValueError:
        return
    database = sqlite3.connect(":memory:")
    try:
        rows = database.execute(f"SELECT 1 AS a WHERE 0 AND ({condition})", (1,) * condition.count("?")).fetchall()
    except (sqlite3.Error, ValueError):
        rows = []
    finally:
        database.close()
    assert rows == []


@given(PIECES)
def test_substituting_without_a_placeholder_changes_only_comments(sql: str) -> None:
    try:
        first = substitute_cutoff(sql, ":cutoff")
    except ValueError:
        return
    assert substitute_cutoff(first, ":cutoff") == first
