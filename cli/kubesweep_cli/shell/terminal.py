"""The two streams of a command: results on stdout, everything else on stderr.

Colours, boxes and moving lines are for terminals only. A pipe, a file and a pod's log get plain lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from kubesweep.errors import SpecError
from kubesweep.text import MAX_TEXT, printable

__all__ = ["THEME", "Printable", "Terminal", "open_terminal"]

THEME = Theme(
    {
        "good": "green",
        "warn": "yellow",
        "bad": "bold red",
        "calm": "cyan",
        "faint": "bright_black",
        "name": "bold",
        "command": "bold cyan",
        "bar.complete": "cyan",
        "bar.finished": "green",
        "bar.pulse": "cyan",
        "bar.back": "bright_black",
    }
)
# Columns without a terminal: a line of a table stays one line, which other programs can read, also with the longest message.
PLAIN_WIDTH = 8 * MAX_TEXT
GAP = 2  # columns between two columns of a table without lines


@dataclass(frozen=True, slots=True)
class Printable:
    """A renderable without foreign escape sequences: messages, keys and names come from databases and receivers."""

    what: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.what, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.what)


class _OnlyPrintable(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [Printable(one) for one in renderables]


@dataclass(frozen=True, slots=True)
class Terminal:
    out: Console
    err: Console
    verbosity: int = 0  # -1 quiet, 0, 1 verbose

    @property
    def live(self) -> bool:
        """True on an interactive terminal: the live view may be shown."""
        return self.out.is_terminal and not self.out.is_dumb_terminal and self.verbosity >= 0

    def aside(self) -> Terminal:
        """The same terminal with stdout kept free for a document: what is for people goes to stderr."""
        return replace(self, out=self.err)

    def line(self, text: str) -> None:
        """One plain line of a result, without wrapping and markup."""
        self.out.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """A message on stderr; silent with ``-q``."""
        if self.verbosity >= 0:
            self.err.print(Text(text, style=style), soft_wrap=True)

    def warn(self, text: str) -> None:
        self.err.print(Text(text, style="warn"), soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        if isinstance(what, Table) and not self.out.is_terminal:
            what.box, what.padding, what.pad_edge = None, (0, GAP, 0, 0), False
        self.out.print(what)

    def agrees(self, question: str) -> bool:
        """Ask on stderr whether to act. Every answer but yes is no, and so is Ctrl-D."""
        self.err.print(Text(f"{question} [y/N] "), end="", soft_wrap=True)
        try:
            answer = input()
        except EOFError:
            self.err.print()
            answer = ""
        return answer.strip().lower() in ("y", "yes")

    def confirms(self, question: str, *, yes: bool) -> bool:
        """Whether a person agrees, or has with ``--yes``. Raises SpecError without a terminal to ask on."""
        if yes:
            return True
        if not sys.stdin.isatty():
            raise SpecError("NotConfirmed", f"{question}\nThere is no terminal to ask on. Confirm with --yes.")
        if self.agrees(question):
            return True
        self.say("Nothing was changed.")
        return False

    def next_steps(self, steps: Sequence[tuple[str, str]]) -> None:
        """Print what to type next: pairs of command and purpose. Commands are never wrapped, so that they can be copied.

        An empty command stands for one that cannot be printed, because a part of it is not known. The purpose then says it in words.
        """
        if self.verbosity < 0 or not steps:
            return
        self.out.print()
        self.out.print(Text("Next", style="bold"))
        for command, what in steps:
            self.out.print(Text(f"  # {what}", style="faint"), soft_wrap=True)
            if command:
                self.out.print(Text(f"  {command}", style="command"), soft_wrap=True)

    def error(self, text: str) -> None:
        """Why a command fails. The first line is the message, the rest is help."""
        head, _, rest = text.partition("\n")
        self.err.print(Text.assemble(("error: ", "bad"), head), soft_wrap=True)
        if rest:
            self.err.print(Text(rest), soft_wrap=True)


def open_terminal(*, color: bool = True, verbosity: int = 0, environ: Mapping[str, str] = os.environ) -> Terminal:
    """``color=False`` or the variable NO_COLOR (any text) turns colours off, but not the live view."""
    plain = not color or bool(environ.get("NO_COLOR"))
    sizes = {name: text for name in ("COLUMNS", "LINES") if (text := environ.get(name)) is not None}
    usable = {name: text for name, text in environ.items() if name not in sizes or _size(text)}

    def console(stderr: bool) -> Console:
        made = Console(
            stderr=stderr, theme=THEME, no_color=plain, highlight=False, emoji=False, markup=False, _environ=usable
        )
        if not made.is_terminal:
            made = Console(
                stderr=stderr, theme=THEME, no_color=True, highlight=False, emoji=False, markup=False,
                width=_size(sizes.get("COLUMNS", "")) or PLAIN_WIDTH, _environ=usable,
            )  # fmt: skip
        made.push_render_hook(_OnlyPrintable())
        return made

    return Terminal(console(False), console(True), verbosity)


def _size(text: str) -> int:
    """Columns or lines; 0 for a text that is no such number, which some build servers and editors set."""
    return min(int(text), 10_000) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
