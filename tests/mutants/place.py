"""Where a guarantee is kept: functions of Python and Lua, statements of SQL, found by their names and texts, never by line numbers.

A name or text that is gone, or that occurs twice, is an error: otherwise a renamed function would silently leave the list.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "guarantees"


class AnchorGone(Exception):
    """A place, or an equivalent mutant, is not in the code any more, or not only once."""


class Span(NamedTuple):
    """A part of a file's text."""

    start: int
    end: int


@dataclass(frozen=True)
class Equivalent:
    """Mutants that no test can kill. ``mutants``: their texts, as a report shows them; ``why``: the reason."""

    mutants: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Place:
    """``name``: a function (``Class.method``) or statement; empty: the whole file. ``lines``: texts that each occur in one line of it;
    None: all lines. ``edits``: mutants that no operator makes, as (text, replacement). ``tests``: arguments of pytest."""

    file: str
    name: str
    tests: tuple[str, ...]
    lines: tuple[str, ...] | None = None
    edits: tuple[tuple[str, str], ...] = ()
    equivalents: tuple[Equivalent, ...] = field(default=())

    @property
    def where(self) -> str:
        return f"{self.file}: {self.name}" if self.name else self.file

    def read(self) -> str:
        return (ROOT / self.file).read_text("utf-8")


@dataclass(frozen=True)
class Guarantee:
    name: str
    what: str
    places: tuple[Place, ...]


def guarantees() -> dict[str, Guarantee]:
    """All of the list, by name: one file each, ``guarantees/<name>.toml``."""
    return {file.stem: _guarantee(file) for file in sorted(FOLDER.glob("*.toml"))}


def _guarantee(file: Path) -> Guarantee:
    body = tomllib.loads(file.read_text("utf-8"))
    return Guarantee(file.stem, body["what"], tuple(place for one in body["place"] for place in _places(one, body)))


def _places(one: dict[str, Any], body: dict[str, Any]) -> Iterator[Place]:
    """``names`` lists several functions of a file with the same tests, of which an equivalent mutant gives its own. ``tests`` is a name in
    ``[tests]``, or a list."""
    tests = one["tests"] if isinstance(one["tests"], list) else body["tests"][one["tests"]]
    lines, names = one.get("lines"), one.get("names", [one.get("name", "")])
    for each in one.get("equivalent", []):
        if each.get("name", names[0]) not in names:
            raise AnchorGone(f"{one['file']} lists no {each['name']!r}, which has an equivalent mutant")
    for name in names:
        yield Place(
            one["file"],
            name,
            tuple(tests),
            None if lines is None else tuple(lines),
            tuple((each[0], each[1]) for each in one.get("edits", [])),
            tuple(
                Equivalent(tuple(each["mutants"]), each["why"])
                for each in one.get("equivalent", [])
                if each.get("name", name) == name
            ),
        )


def block(place: Place, text: str) -> Span:
    """The function or statement of the place. Raises AnchorGone."""
    if not place.name:
        return Span(0, len(text))
    find = {"py": _python, "lua": _lua, "sql": _sql}[place.file.rpartition(".")[2]]
    found = list(find(place.name, text))
    if len(found) != 1:
        raise AnchorGone(f"{place.file} has {len(found)} blocks named {place.name!r} instead of one")
    return found[0]


def spans(place: Place, text: str) -> list[Span]:
    """The parts of the text in which operators work. Raises AnchorGone."""
    whole = block(place, text)
    if place.lines is None:
        return [whole]
    return [line_of(anchor, text, whole, place) for anchor in place.lines]


def line_of(anchor: str, text: str, within: Span, place: Place) -> Span:
    at = position(anchor, text, within, place)
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at + len(anchor))
    return Span(max(start, within.start), min(within.end, len(text) if end < 0 else end))


def position(anchor: str, text: str, within: Span, place: Place) -> int:
    """Where the text begins that occurs once in the block. Raises AnchorGone."""
    if (times := text.count(anchor, *within)) != 1:
        raise AnchorGone(f"{place.where} has {anchor!r} {times} times instead of once")
    return text.index(anchor, *within)


def _python(name: str, text: str) -> Iterator[Span]:
    starts = line_starts(text)
    for path, node in _definitions(ast.parse(text), ""):
        if path == name:
            yield Span(starts[node.lineno - 1], starts[node.end_lineno or node.lineno] - 1)


def _definitions(tree: ast.AST, path: str) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{path}.{node.name}" if path else node.name
            yield inner, node
            yield from _definitions(node, inner)


def line_starts(text: str) -> list[int]:
    """Where each line begins, and the end after the last one."""
    return [0, *(match.end() for match in re.finditer(r"\n|\Z(?<!\n)", text)), len(text) + 1]


def _lua(name: str, text: str) -> Iterator[Span]:
    """A function at the left margin ends on its own line, or with the next ``end`` at that margin."""
    for match in re.finditer(rf"^local function {re.escape(name)}\(.*$", text, re.MULTILINE):
        one_line = re.search(r"\bend$", match[0])
        end = match.end() if one_line else text.index("\nend", match.start()) + len("\nend")
        yield Span(match.start(), end)


def _sql(name: str, text: str) -> Iterator[Span]:
    for match in re.finditer(rf"^-- name: {re.escape(name)}\n((?:(?!-- name: ).*\n?)*)", text, re.MULTILINE):
        yield Span(*match.span(1))
