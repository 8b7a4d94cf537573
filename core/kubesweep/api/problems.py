"""A problem of a file: what is wrong, where, and what to write instead. It never contains a password (see ``shown``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kubesweep.errors import SpecError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One problem. ``code`` is stable (docs/errors.md). Line and column count from 1; 0 is unknown."""

    code: str
    text: str
    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""  # spec.match[1].before
    given: str = ""
    allowed: tuple[str, ...] = ()
    nearest: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        head = ": ".join(part for part in (place, self.path) if part)
        text = self.text
        if self.given:
            text += f"; given: {self.given}"
        if self.nearest:
            text += f'; did you mean "{self.nearest}"?'
        if self.allowed:
            text += f"{'' if self.nearest else ';'} allowed: {', '.join(self.allowed)}"
        return f"{head}: {text}" if head else text


class SpecErrors(SpecError):
    """All problems of the files, in the order of the files and lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems[0].code, "\n".join(str(each) for each in self.problems))


def path_text(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: object) -> str:
    """A given value for a message: short, on one line, and without the password of a URL."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = re.sub(r"(?i)(password\s*=\s*)\S+", r"\1***", re.sub(r"://\S*@", "://***@", str(value)))
    text = text if len(text) <= 60 else f"{text[:60]}..."
    return (
        f'"{text.encode("unicode_escape").decode() if not text.isprintable() else text}"'
        if isinstance(value, str)
        else text
    )
