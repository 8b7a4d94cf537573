"""Values of columns without quotes in a file: accepted where all YAML parsers agree on them.

``true``, ``false`` and decimals such as ``1.10`` keep their text. Quotes are required for an integer that YAML reads as another
number (``007`` is 7, ``1_000`` is 1000), and for everything else that is no text. The API server accepts only integers: its JSON
does not have the original text of the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kubesweep.api.loading.yaml_document import Document
from kubesweep.api.problems import Path, Problem

LARGEST = 10**60
_AS_WRITTEN = re.compile(r"true|false|-?(0|[1-9][0-9]*)\.[0-9]+")


def restore_written_text(document: Document) -> list[Problem]:
    """Replaces the values in the document's data by their texts. Returns a problem for each integer that would change."""
    problems = []
    for place, step, path in list(_values(document.data)):
        given, written = place[step], document.written(path)
        if isinstance(given, bool | int | float) and written is not None:
            if _AS_WRITTEN.fullmatch(written):
                place[step] = written
            elif type(given) is int and _decimal(given) != written:
                text = f"YAML reads this as {_decimal(given) or 'another number'}: put it into quotes"
                problems.append(document.problem("NotAString", text, path, given=written[:60]))
    return problems


def _decimal(number: int) -> str:
    """Its text; empty for a number of so many digits that Python does not print it."""
    return str(number) if abs(number) < LARGEST else ""


def _values(data: Any) -> Iterator[tuple[Any, str | int, Path]]:
    """The place of each value: its container, its key or index there, and its path."""
    spec = _in(data, "spec", dict)
    for n, match in enumerate(_in(spec, "match", list)):
        for name in ("in", "notIn"):
            listed = _in(match, name, list)
            yield from ((listed, each, ("spec", "match", n, name, each)) for each in range(len(listed)))
        if isinstance(match, dict):
            yield from (
                (match, name, ("spec", "match", n, name)) for name in ("lessThan", "greaterThan") if name in match
            )
    for n, assignment in enumerate(_in(_in(spec, "write", dict), "update", list)):
        if isinstance(assignment, dict) and "value" in assignment:
            yield assignment, "value", ("spec", "write", "update", n, "value")


def _in(data: Any, name: str, kind: type) -> Any:
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, kind) else kind()
