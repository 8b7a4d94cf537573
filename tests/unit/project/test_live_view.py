"""The picture of the live view: the right frame of a terminal's output, as an SVG that loads nothing."""

from __future__ import annotations

import re
import sys

import pytest

from tools.record_live_view import frames, middle, record, render

ERASE = "\r\x1b[2K\x1b[1A\x1b[2K"


def test_the_frames_are_what_is_drawn_between_two_erasures() -> None:
    output = f"before\r\n\x1b[?25lone\r\n 10 %{ERASE}two\r\n 60 %{ERASE}three\r\n 95 %{ERASE}after\r\n"
    assert frames(output) == ["two\n 60 %", "three\n 95 %"]


def test_the_chosen_frame_is_the_one_nearest_to_two_thirds() -> None:
    assert middle(["a 10 %\nb 5 %", "a 64 %\nb 70 %", "a 99 %\nb 98 %"]) == "a 64 %\nb 70 %"
    assert middle(["a 66 %", "a 40 %\nb 40 %"]) == "a 40 %\nb 40 %"  # one in which more than one sweep runs
    with pytest.raises(ValueError, match="use more rows"):
        middle(["planning", "done"])


def test_the_picture_has_the_text_and_loads_nothing() -> None:
    picture = render("\x1b[1mclose-carts\x1b[0m Running", "kubesweep demo")
    assert picture.startswith("<svg")
    assert "close-carts" in picture
    assert "kubesweep&#160;demo" in picture
    assert re.findall(r"url\([\"']?https?:", picture) == []


def test_a_command_writes_to_a_terminal_of_a_known_size() -> None:
    program = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"
    assert record([sys.executable, "-c", program]) == "True 92\r\n"
