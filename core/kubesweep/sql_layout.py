"""Line breaks for the exact SQL. Only spaces become line breaks, never inside a literal or a name."""

from __future__ import annotations

import re

__all__ = ["laid_out"]

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]|[A-Za-z_]+|\s+|.""", re.DOTALL)
_BREAKS = frozenset({"FROM", "WHERE", "AND", "ORDER", "LIMIT", "RETURNING", "SET", "LEFT", "UNION"})
_INSIDE = frozenset({"AND"})
DEEPEST = 1  # parentheses nested deeper are short expressions


def laid_out(sql: str) -> str:
    """``sql`` with a line for each clause; unchanged if it has comments or dollar quotes, where line breaks have a meaning."""
    if "--" in sql or "/*" in sql or "$" in sql:
        return sql
    tokens = _TOKEN.findall(sql)
    depth, text = 0, ""
    for place, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        after_space = place > 0 and tokens[place - 1] == " "
        starts = token in _BREAKS or (token == "SELECT" and depth == 0 and text.rstrip().endswith(")"))
        if starts and after_space and depth <= DEEPEST and text.strip():
            text = f"{text[:-1]}\n{'  ' * (depth + (token in _INSIDE))}{token}"
        else:
            text += token
    return text
