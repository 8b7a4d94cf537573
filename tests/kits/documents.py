"""Parses the commands that a documentation page shows, with the output that it shows for them.

A fenced block is used where the line before it is an HTML comment, which is not rendered:

``<!-- run -->``
    a ``console`` block. A line that begins with ``$ `` is a command; a backslash at its end or a following line that begins
    with ``> `` continues it. The lines after it are its output.
``<!-- file: sweep.yaml -->``
    the block is the whole text of that file in the working directory of the commands.

Ages, times, addresses and the random suffixes of pods' names differ in every run, so they match any value of their kind.
``...`` matches any text, and any lines where it is alone on a line.
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
    line: int  # line number in the page, for messages
    text: str
    shown: str  # the output that the page shows; empty: none


@dataclass(frozen=True)
class File:
    line: int
    path: str
    text: str


def steps(page: str) -> Iterator[Command | File]:
    """The files and commands of a page, in order. Raises ValueError for a mark without a block or with one of the wrong kind."""
    blocks = list(BLOCK.finditer(page))
    if len(blocks) != len(MARK.findall(page)):
        raise ValueError("a <!-- run --> or <!-- file: ... --> has no fenced block after it")
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
        continued = bool(started) and (command[-1].endswith("\\") or (line.startswith("> ") and not shown))
        if continued:
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
    """The shown and the printed text where they differ; None where they match."""
    wanted, got = _lines(shown), _lines(printed)
    pattern = "".join(r"(?:[^\n]*\n)*" if line == "..." else _pattern(line) + r"\n" for line in wanted)
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in got)):
        return None
    return f"the page shows:\n{shown.strip()}\n\nprinted:\n{printed.strip()}"


def _pattern(line: str) -> str:
    return "[^\n]*".join(map(re.escape, line.split("...")))


def _lines(text: str) -> list[str]:
    for kind, word in KINDS:
        text = kind.sub(word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]
