"""A problem of a file: what is wrong, where, and what to write instead. It never contains a password (see ``shown``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kubesweep.errors import SpecError
from kubesweep.text import clip

Path = tuple[str | int, ...]
MOST = 100  # problems of one call; an object of a megabyte may have 100,000
LONGEST = 2048  # characters of a problem
LONGEST_NAME, LONGEST_PATH = 64, 300  # of a field that a file names, and of its path


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
        return clip(_one_line(f"{head}: {text}" if head else text), LONGEST)


class SpecErrors(SpecError):
    """The problems of the files in the order of the files and lines, at most ``MOST``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems[:MOST])
        more = ["There are more problems: fix these first."] if len(problems) > MOST else []
        super().__init__(self.problems[0].code, "\n".join([*map(str, self.problems), *more]))


def path_text(path: Path) -> str:
    """``spec.match[1].before``. Names and the whole are shortened, because a file may have keys of any length."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{_name(step)}" if text else _name(step)
    return text if len(text) <= LONGEST_PATH else f"{text[:LONGEST_PATH]}..."


def _name(step: str) -> str:
    return (step if len(step) <= LONGEST_NAME else f"{step[:LONGEST_NAME]}...") or '""'


def _one_line(text: str) -> str:
    """The text with escapes for line ends and for what a terminal cannot show: keys of a file are in messages."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


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
