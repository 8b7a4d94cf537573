"""Text of others on a person's terminal."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console
from rich.text import Text

from kubesweep.queue.model import Attempt, DeadLetter, ErrorGroup, ScheduleRef
from kubesweep_cli.dead import _show_letter, group_table
from kubesweep_cli.terminal import Printable, Terminal, open_terminal

HOSTILE = "\x1b]0;mine\x07 \x1b[2J\x9b31m\u202e"
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


def test_no_way_to_print_lets_escape_sequences_of_others_through(terminal: Terminal) -> None:
    terminal.line(HOSTILE)
    terminal.say(HOSTILE)
    terminal.warn(HOSTILE)
    terminal.error(HOSTILE)
    terminal.next_steps([(HOSTILE, HOSTILE)])
    terminal.show(group_table([(REF, [ErrorGroup(HOSTILE, 1, HOSTILE, 0.0, 0.0, ((HOSTILE,),))])]))
    text = written(terminal)
    assert "\x1b[3" in text, "colours of our own stay"
    for part in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\u202e"):
        assert part not in text


def test_a_live_view_is_printable_too() -> None:
    file = io.StringIO()
    Console(file=file, force_terminal=True).print(Printable(Text(f"name {HOSTILE}")))
    assert "\x1b]" not in file.getvalue()


def test_a_dead_letter_shows_where_it_was_raised_when_asked(terminal: Terminal) -> None:
    attempt = Attempt(0.0, "ValueError", "no", "/app/sweeps.py:42")
    letter = DeadLetter(("1",), "ValueError", "no", 0.0, "s", (attempt,))
    _show_letter(terminal, "carts", letter)
    assert "sweeps.py:42" not in written(terminal)
    _show_letter(dataclasses.replace(terminal, verbosity=1), "carts", letter)
    assert "raised at /app/sweeps.py:42" in written(terminal)
