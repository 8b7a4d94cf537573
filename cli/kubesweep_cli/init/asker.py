"""Asks a question on the terminal until the answer can be read.

Without a terminal nothing is asked: an answer is the option's, else the default, else an error that names the option.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rich.text import Text

from kubesweep.errors import SpecError
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["Asker", "Question"]

T = TypeVar("T")


@dataclass(frozen=True)
class Question(Generic[T]):
    """``parse`` raises ValueError. ``default`` is a text for it; None: there is none."""

    title: str
    option: str
    parse: Callable[[str], T]
    default: str | None = None
    help: tuple[str, ...] = field(default=())


class Asker:
    def __init__(self, terminal: Terminal, *, interactive: bool) -> None:
        self._terminal, self.interactive = terminal, interactive

    def answer(self, question: Question[T], given: str | None = None) -> T:
        """Raises SpecError; KeyboardInterrupt at the end of the input."""
        if given is not None:
            return self.read(question.option, question.parse, given)
        if not self.interactive:
            if question.default is None:
                text = "\n".join((f"{question.title}: add {question.option}.", *question.help))
                raise SpecError("AnswerNeeded", text)
            return self.read(question.option, question.parse, question.default)
        for line in question.help:
            self.say(f"  {line}")
        while True:
            default = f" [{question.default}]" if question.default is not None else ""
            prompt = Text.assemble((question.title, "bold"), (default, "calm"), ": ")
            self._terminal.err.print(prompt, end="", soft_wrap=True)
            try:
                return question.parse(self._line() or question.default or "")
            except ValueError as error:
                self._terminal.warn(f"  {error}")

    @staticmethod
    def _line() -> str:
        try:
            return input().strip()
        except EOFError:
            raise KeyboardInterrupt from None

    def say(self, text: str) -> None:
        self._terminal.say(text, style="faint")

    @staticmethod
    def read(option: str, parse: Callable[[str], T], text: str) -> T:
        """The value of an option. Raises SpecError."""
        try:
            return parse(text)
        except ValueError as error:
            raise SpecError("BadAnswer", f"{option}: {error}") from None
