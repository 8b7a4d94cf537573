"""Documents that are run: the commands that a page shows, and what it says that they print.

A fenced block counts where the line before it is an HTML comment, which no reader sees:

``<!-- run -->``
    a ``console`` block. A line that begins with ``$ `` is a command (a backslash at its end continues it, ``> `` goes on
    below), the lines after it are what it prints.
``<!-- file: sweep.yaml -->``
    the block is the whole text of that file, in the folder that the commands run in.

What differs at every run is written as it came and compared by its kind: ages, times, addresses and the random ends of pods'
names. ``...`` stands for anything, and alone on a line for any lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Command", "File", "difference", "steps"]

BLOCK = re.compile(
    r"^<!-- (?P<mark>run|file: (?P<path>\S+)) -->\n```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
MARK = re.compile(r"^<!-- (?:run|file:)", re.MULTILINE)
KINDS = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "<address>"),
    (re.compile(r"(?<=-)[a-f0-9]{6,10}-[a-z0-9]{5}\b"), "<random>"),
    (re.compile(r"(?<![\w.:/-])(?:\d+[dhms]){1,2}(?![\w.:/-])"), "<age>"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True)
class Command:
    line: int  # of the page, for messages
    text: str
    shown: str  # what the page says it prints; empty: nothing


@dataclass(frozen=True)
class File:
    line: int
    path: str
    text: str


def steps(page: str) -> Iterator[Command | File]:
    """What there is to do, in order. Raises ValueError for a mark that stands before no block, or before one of the wrong kind."""
    blocks = list(BLOCK.finditer(page))
    if len(blocks) != len(MARK.findall(page)):
        raise ValueError("a <!-- run --> or <!-- file: ... --> stands before no fenced block")
    for block in blocks:
        line = page.count("\n", 0, block.start("text")) + 1
        if block["path"]:
            yield File(line, block["path"], block["text"])
        elif block["language"] != "console":
            raise ValueError(
                f"line {line - 1}: <!-- run --> wants a console block, not {block['language'] or 'a plain one'}"
            )
        else:
            yield from _commands(line, block["text"])


def _commands(first: int, text: str) -> Iterator[Command]:
    started, command, shown = 0, [""], [""]
    for number, line in enumerate(text.splitlines(), first):
        goes_on = bool(started) and (command[-1].endswith("\\") or (line.startswith("> ") and not shown))
        if goes_on:
            command.append(line.removeprefix("> "))
        elif line.startswith("$ "):
            if started:
                yield Command(started, "\n".join(command), "\n".join(shown))
            started, command, shown = number, [line.removeprefix("$ ")], []
        elif not started:
            raise ValueError(f"line {number}: a console block begins with a command: $ ...")
        else:
            shown.append(line)
    if started:
        yield Command(started, "\n".join(command), "\n".join(shown))


def difference(shown: str, printed: str) -> str | None:
    """Where what was printed is not what the page shows, in words; None where it is."""
    wanted, got = _lines(shown), _lines(printed)
    pattern = "".join(r"(?:[^\n]*\n)*" if line == "..." else _pattern(line) + r"\n" for line in wanted)
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in got)):
        return None
    return f"the page shows:\n{shown.strip()}\n\nprinted was:\n{printed.strip()}"


def _pattern(line: str) -> str:
    return "[^\n]*".join(map(re.escape, line.split("...")))


def _lines(text: str) -> list[str]:
    for kind, word in KINDS:
        text = kind.sub(word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]
