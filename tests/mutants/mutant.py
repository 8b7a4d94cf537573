"""The mutants of a place: one small change each, that compiles."""

from __future__ import annotations

import difflib
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import lupa.lua51

from kubesweep.queue.sqlite.records import schema
from tests.mutants.operators import LITERALS, LUA, PYTHON, SQL, Change, by_rules, dropped_terms, masked
from tests.mutants.place import AnchorGone, Place, Span, block, position, spans
from tests.mutants.python_syntax import by_syntax, masked_python


@dataclass(frozen=True)
class Mutant:
    place: Place
    original: str  # the text of the whole file
    text: str

    @property
    def name(self) -> str:
        """The lines that changed, in one line: ``if a < b: => if a <= b:``."""
        gone = " ".join(line[1:].strip() for line in self._changed() if line[0] == "-")
        new = " ".join(line[1:].strip() for line in self._changed() if line[0] == "+")
        return f"{gone} => {new}"

    @property
    def diff(self) -> str:
        lines = difflib.unified_diff(
            self.original.splitlines(), self.text.splitlines(), self.place.file, self.place.file, n=2, lineterm=""
        )
        return "\n".join(lines)

    def _changed(self) -> list[str]:
        lines = difflib.unified_diff(self.original.splitlines(), self.text.splitlines(), n=0, lineterm="")
        return [line for line in list(lines)[2:] if line[0] in "+-"]


def mutants(place: Place) -> list[Mutant]:
    """Those to kill, in the order of the text. Raises AnchorGone where the place, or an equivalent mutant of it, is gone."""
    found = {each.name: each for each in _all(place)}
    for equivalent in place.equivalents:
        for name in equivalent.mutants:
            if found.pop(name, None) is None:
                raise AnchorGone(f"{place.where} has no mutant {name!r}, or has it twice in its equivalents")
    return list(found.values())


def _all(place: Place) -> Iterator[Mutant]:
    text = place.read()
    kind = place.file.rpartition(".")[2]
    compiles = {"py": _compiles_python, "lua": _compiles_lua, "sql": _compiles_sql}[kind]
    within, seen = block(place, text), {text}
    for change in [*_edits(place, text, within), *sorted(_changes(kind, text, spans(place, text)))]:
        mutated = change.apply(text)
        if mutated not in seen and compiles(mutated, Span(within.start, within.end + len(mutated) - len(text))):
            seen.add(mutated)
            yield Mutant(place, text, mutated)


def _edits(place: Place, text: str, within: Span) -> Iterator[Change]:
    for old, new in place.edits:
        at = position(old, text, within, place)
        yield Change(Span(at, at + len(old)), new)


def _changes(kind: str, text: str, parts: list[Span]) -> Iterator[Change]:
    rules = {"py": PYTHON, "lua": LUA, "sql": SQL}[kind]
    bare = masked_python(text) if kind == "py" else masked(text, LITERALS[kind])
    for part in parts:
        yield from by_rules(rules, bare, part)
        if kind == "py":
            yield from by_syntax(text, part)
        elif kind == "sql":
            yield from dropped_terms(bare, text, part)


def _compiles_python(text: str, _: Span) -> bool:
    return _succeeds(lambda: compile(text, "mutant", "exec"), SyntaxError)


def _compiles_lua(text: str, _: Span) -> bool:
    return _succeeds(lambda: lupa.lua51.LuaRuntime().compile(text), lupa.lua51.LuaError)


def _compiles_sql(text: str, within: Span) -> bool:
    """SQLite prepares the statement."""
    statement = text[within.start : within.end].strip()
    unnamed = len(re.findall(r"\?", statement))
    values = (None,) * unnamed if unnamed else _AnyValue()
    return _succeeds(lambda: _database().execute(f"EXPLAIN {statement}", values), sqlite3.Error)


class _AnyValue(dict[str, Any]):
    def __missing__(self, key: str) -> None:
        return None


@cache
def _database() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    for statement in schema():
        database.execute(statement)
    return database


def _succeeds(attempt: Callable[[], object], error: type[Exception]) -> bool:
    try:
        attempt()
    except error:
        return False
    return True
