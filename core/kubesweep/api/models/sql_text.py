"""Scans SQL of a spec: checks that it is one balanced expression, and finds ``:cutoff`` in it.

The expression becomes ``(<expression>)`` inside a statement. If it closed that parenthesis, ended the statement or commented
out the rest, the sweep would match more rows, so unbalanced text is refused before it reaches a database. Everything else is
passed on: ``%``, ``:`` and ``::`` have their meaning in the database.

The lexical rules are PostgreSQL's (https://www.postgresql.org/docs/current/sql-syntax-lexical.html) and SQLite's backticks.
This protects against accidents, not against an attacker: an author of a SweepSchedule may run SQL anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_SQL_LENGTH = 4096
PLACEHOLDER = ":cutoff"

_WORD = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*+"
_TOKEN = re.compile(
    rf"""
    (?P<line>--[^\r\n]*+)
  | (?P<block>/\*)
  | (?P<quoted>[eE]'(?:[^'\\]|\\.|'')*+' | '(?:[^']|'')*+' | "(?:[^"]|"")*+" | `(?:[^`]|``)*+`
      | \$(?P<tag>(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*+)?)\$.*?\$(?P=tag)\$)
  | (?P<unterminated>[eE]' | ['"`] | \$(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*+)?\$)
  | (?P<cast>::)
  | (?P<cutoff>{PLACEHOLDER}(?![A-Za-z0-9_$\u0080-\U0010ffff]))
  | (?P<word>{_WORD} | [0-9][A-Za-z0-9_]*+)
  | (?P<space>\s++)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def check_sql(sql: str) -> None:
    """Raises ValueError with a sentence unless ``sql`` is one balanced and complete expression."""
    depth, meaning = 0, False
    for kind, text, at in _tokens(sql):
        meaning = meaning or kind not in ("comment", "space")
        if kind != "other":
            continue
        if text == ";":
            raise ValueError(f"a semicolon at character {at + 1} would end the statement: write one expression")
        depth += (text == "(") - (text == ")")
        if depth < 0:
            raise ValueError(f'the ")" at character {at + 1} has no matching "(" before it')
    if depth:
        raise ValueError(f'{depth} "(" {"is" if depth == 1 else "are"} never closed')
    if not meaning:
        raise ValueError("the text is empty: write one expression")


def substitute_cutoff(sql: str, literal: str) -> str:
    """``sql`` with ``literal`` for each bare ``:cutoff``, and a blank for each comment.

    A line comment would otherwise comment out what follows in the statement. Raises ValueError like :func:`check_sql`.
    """
    check_sql(sql)
    parts: list[str] = []
    for kind, text, _ in _tokens(sql):
        parts.append(literal if kind == "cutoff" else " " if kind == "comment" else text)
    return "".join(parts)


def normal_sql(sql: str) -> str:
    """The same text for expressions that differ only in blanks between words, and in comments. Raises ValueError like :func:`check_sql`."""
    parts = [" " if kind in ("space", "comment") else text for kind, text, _ in _tokens(sql)]
    return "".join(part for at, part in enumerate(parts) if part != " " or parts[at - 1 : at] != [" "]).strip(" ")


def _tokens(sql: str) -> Iterator[tuple[str, str, int]]:
    """(kind, text, offset); kinds: comment, space, quoted, cast, cutoff, word, other (one character)."""
    if "\0" in sql:
        raise ValueError("the text has a NUL character, which databases do not accept")
    at = 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        if found is None:  # never happens, because "other" matches any character; for the type checker
            raise ValueError(f"character {at + 1} cannot be read")
        kind, end = _kind(found), found.end()
        if kind == "unterminated":
            raise ValueError(f"the quote {found.group()} at character {at + 1} is never closed")
        if kind == "block":
            end = _comment_end(sql, at)
        if kind == "word" and sql[at].isdigit() and sql[end : end + 1] == "$":
            # Versions of PostgreSQL disagree on whether this is a dollar quote or a part of the word.
            raise ValueError(f"the $ at character {end + 1} directly follows a number: put a blank between them")
        yield "comment" if kind in ("line", "block") else kind, sql[at:end], at
        at = end


def _kind(found: re.Match[str]) -> str:
    # lastgroup is the inner group "tag" for some quotes.
    return next(name for name, text in found.groupdict().items() if text is not None and name != "tag")


def _comment_end(sql: str, start: int) -> int:
    """The offset behind the ``*/`` that closes the comment at ``start``.

    A nested comment is refused: PostgreSQL and SQLite disagree on where it ends.
    """
    edge = _COMMENT_EDGE.search(sql, start + 2)
    if edge is None:
        raise ValueError(f"the comment at character {start + 1} is never closed")
    if edge.group() == "/*":
        raise ValueError(
            f"the comment at character {edge.start() + 1} is inside another: databases disagree on its end"
        )
    return edge.end()
