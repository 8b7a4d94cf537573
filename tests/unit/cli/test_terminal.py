"""Foreign text on the terminal."""

from __future__ import annotations

import dataclasses
import io
import re
import sys

import pytest
from rich.console import Console
from rich.text import Text

from kubesweep.errors import SpecError
from kubesweep.queue.model import Attempt, DeadLetter, ErrorGroup, ScheduleRef, parse_key, plain_key
from kubesweep.text import MAX_TEXT
from kubesweep_cli.shell.terminal import Printable, Terminal, open_terminal
from kubesweep_cli.views.dead_letter_table import group_table, show_letter
from tests.unit.core.test_text import harmful

HOSTILE = "\x1b]0;mine\x07 \x1b[2J\x9b31m\u202e\0\ud800"
REF = ScheduleRef("local", "default", "carts", "u")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("FORCE_COLOR", "1")
    made = open_terminal()
    made.out.file = made.err.file = io.StringIO()
    return made


def written(terminal: Terminal) -> str:
    file = terminal.out.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_no_way_to_print_lets_foreign_escape_sequences_through(terminal: Terminal) -> None:
    terminal.line(HOSTILE)
    terminal.say(HOSTILE)
    terminal.warn(HOSTILE)
    terminal.error(HOSTILE)
    terminal.next_steps([(HOSTILE, HOSTILE)])
    terminal.show(group_table([(REF, [ErrorGroup(HOSTILE, 1, HOSTILE, 0.0, 0.0, ((HOSTILE[:-1],),))])], 120))
    text = written(terminal)
    assert "\x1b[3" in text, "colours of our own stay"
    assert harmful(re.sub(r"\x1b\[[0-9;]*m", "", text)) == []


@pytest.mark.parametrize(
    "key", [("a\x1b[2J",), ("eu\u202e", "17"), ("two\nlines",), ("[42]",), ("42",), ("a b",), ("Ё",)]
)
def test_a_key_is_shown_so_that_it_can_be_typed_again(terminal: Terminal, key: tuple[str, ...]) -> None:
    show_letter(terminal, "carts", DeadLetter(key, "E", "no", 0.0, "s", (Attempt(0.0, "E", "no"),)))
    assert plain_key(key) in written(terminal).splitlines()[0]
    assert (parse_key(plain_key(key)), harmful(plain_key(key))) == (key, [])


def test_a_live_view_is_printable_too() -> None:
    file = io.StringIO()
    Console(file=file, force_terminal=True).print(Printable(Text(f"name {HOSTILE}")))
    assert "\x1b]" not in file.getvalue()


def test_a_dead_letter_shows_where_it_was_raised_when_asked(terminal: Terminal) -> None:
    attempt = Attempt(0.0, "ValueError", "no", "/app/sweeps.py:42")
    letter = DeadLetter(("1",), "ValueError", "no", 0.0, "s", (attempt,))
    show_letter(terminal, "carts", letter)
    assert "sweeps.py:42" not in written(terminal)
    show_letter(dataclasses.replace(terminal, verbosity=1), "carts", letter)
    assert "raised at /app/sweeps.py:42" in written(terminal)


@pytest.mark.parametrize(
    ("typed", "agreed"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("yep\n", False), ("", False)],
)
def test_only_yes_is_yes_and_the_end_of_the_input_is_no(
    typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = open_terminal(color=False)
    made.err.file = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert made.agrees("Purge 3 rows?") is agreed
    said = made.err.file.getvalue()
    assert said == "Purge 3 rows? [y/N] " + ("" if typed else "\n")


def test_a_question_needs_a_terminal_unless_it_is_answered_by_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    made = open_terminal(color=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert made.confirms("Purge 3 rows?", yes=True)
    with pytest.raises(SpecError, match=r"Purge 3 rows\?\nThere is no terminal to ask on"):
        made.confirms("Purge 3 rows?", yes=False)


def test_a_table_in_a_pipe_has_one_plain_line_for_each_row() -> None:
    made = open_terminal(environ={})
    made.out.file = io.StringIO()
    message = ("a long message " * MAX_TEXT)[:MAX_TEXT]
    made.show(group_table([(REF, [ErrorGroup("E", 1, message, 0.0, 0.0, (("1",),))])], made.out.width))
    header, row = made.out.file.getvalue().splitlines()
    assert header.split() == ["schedule", "error", "rows", "such", "as", "latest", "message"]
    assert row.rstrip().split(maxsplit=4) == ["carts", "E", "1", "1", message.strip()]
