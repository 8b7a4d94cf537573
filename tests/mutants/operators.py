"""The operators: each makes small changes to a part of a text. One set of rules serves Python, Lua and SQL.

Rules work on the text outside of comments and literals. What only a parser sees (statements, conditions, elements of a list) is
added for Python by its syntax tree, and for Lua and SQL by the form of a line. A result that does not compile is no mutant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.mutants.place import Span


class Change(NamedTuple):
    """Replace a part of the text."""

    span: Span
    by: str

    def apply(self, text: str) -> str:
        return text[: self.span.start] + self.by + text[self.span.end :]


Rule = tuple[str, str | Callable[[re.Match[str]], list[str]]]


def _steps(match: re.Match[str]) -> list[str]:
    number = match[0]
    if "." in number:
        return [f"{float(number) + 1:g}.0" if number.endswith(".0") else f"{float(number) * 2:g}"]
    return [str(int(number) + 1), *([str(int(number) - 1)] if int(number) else [])]


def _less(match: re.Match[str]) -> list[str]:
    return [str(int(match[0]) - 1)]


NUMBERS: Rule = (r"(?<![\w.\"'\[])(?<![+-] )\d+(?:\.\d+)?(?![\w.\"'\]])", _steps)
BOUNDS: list[Rule] = [
    (r"<=", "<"),
    (r"(?<![<=>~!-])<(?![<=>])", "<="),
    (r">=", ">"),
    (r"(?<![<=>~!-])>(?![>=])", ">="),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"(?<=\S) \+ (?!1\])", " - "),  # not where Lua appends to a list
    (r"(?<=\S) - ", " + "),
    (r"(?<= [+-] )[1-9]\d*(?![\w.\]])", _less),  # the sign's own mutant changes more
]
PYTHON: list[Rule] = [*BOUNDS, NUMBERS, (r"\bTrue\b", "False"), (r"\bFalse\b", "True")]


def _negated(by: str) -> Callable[[re.Match[str]], list[str]]:
    """Not on a line with a condition: its block is deleted as a whole."""

    def replace(match: re.Match[str]) -> list[str]:
        line = match.string[match.string.rfind("\n", 0, match.start()) + 1 : match.start()]
        return [] if "if " in line else [by]

    return replace


LUA: list[Rule] = [
    *BOUNDS,
    (r"(?<=[<>=] )\d+(?![\w.]| \*)", _steps),
    (r"\band\b", "or"),
    (r"\bor\b", "and"),
    (r"\bnot ", ""),
    (r"==", _negated("~=")),
    (r"~=", _negated("==")),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    # Delete a statement on a line of its own, and the block of a condition.
    (
        r"(?m)^(?P<indent> *)(?! |(?:local|if|elseif|for|return|until) )(?:call\(|[\w.]+\(|[\w., \[\]#+]+ = )[^\n]*$",
        lambda match: [match["indent"]],
    ),
    (r"(?m)(?<=if )[^\n]+?(?= then)", lambda match: ["false"]),
]
SQL: list[Rule] = [*BOUNDS, (r"\bDESC\b", ""), (r"(?m)(?<=ORDER BY )(\w+)$", lambda match: [f"{match[1]} DESC"])]

LITERALS = {
    "lua": r"--[^\n]*|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"",
    "sql": r"--[^\n]*|'(?:''|[^'])*'",
}


def masked(text: str, literals: str) -> str:
    """The text with comments and literals blanked, so that positions stay the same."""
    return re.sub(literals, lambda match: re.sub(r"[^\n]", "\0", match[0]), text)


def by_rules(rules: list[Rule], bare: str, within: Span) -> Iterator[Change]:
    """``bare``: the masked text."""
    for pattern, replace in rules:
        for match in re.compile(pattern).finditer(bare, *within):
            for by in [replace] if isinstance(replace, str) else replace(match):
                yield Change(Span(*match.span()), by)


def dropped_terms(bare: str, text: str, within: Span) -> Iterator[Change]:
    """SQL: each condition of a WHERE, ON or JOIN, made always true. It stays in the text, because its parameters are bound."""
    for start in re.compile(r"\b(?:WHERE|ON)\b(?! CONFLICT)").finditer(bare, *within):
        for term in _terms(bare, start.end(), within.end):
            yield Change(term, f"({text[term.start : term.end]} OR true)")


def _terms(bare: str, at: int, end: int) -> Iterator[Span]:
    """The parts between AND, up to the next clause or the bracket that closes the subquery."""
    depth, begin = 0, at
    for token in re.compile(r"[()]|\b(?:AND|WHERE|ORDER BY|GROUP BY|LIMIT|RETURNING|UNION)\b|;|\Z").finditer(
        bare, at, end
    ):
        depth += (token[0] == "(") - (token[0] == ")")
        ends = depth < 0 or (depth == 0 and token[0] not in ("(", ")", "AND"))
        if ends or (depth == 0 and token[0] == "AND"):
            part = bare[begin : token.start()]
            yield Span(begin + len(part) - len(part.lstrip()), begin + len(part.rstrip()))
            begin = token.end()
        if ends:
            return
    part = bare[begin:end]
    yield Span(begin + len(part) - len(part.lstrip()), begin + len(part.rstrip()))
