"""The section "Command line" of docs/errors.md: its rows of a command or a situation, a code and the beginning of a message."""

from __future__ import annotations

from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"


def command_line_rows() -> list[tuple[str, str, str]]:
    section = DOCUMENT.read_text(encoding="utf-8").partition("\n## Command line\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    return [(how, code.strip("`"), text) for how, code, text in lines]


def documented_text(code: str) -> str:
    """The text of the first row with this code."""
    return next(text for _, known, text in command_line_rows() if known == code)
