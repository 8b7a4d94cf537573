"""Accepts options where people type them: typer wants global ones before the command, and those of a command after it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["in_typers_order"]

_GLOBAL = frozenset({"-q", "--quiet", "-v", "--verbose", "--no-color"})
_LONG = {"-n": "--namespace", "-f": "--file", "-o": "--output"}  # those that kubectl has too
_VALUED = frozenset({*_LONG, *_LONG.values(), "--queue", "--url"})
_GROUPS = frozenset({"dead"})  # commands with commands of their own


def in_typers_order(arguments: Sequence[str]) -> list[str]:
    """``-n shop status -v`` becomes ``-v status -n shop``, and ``-o=json`` becomes ``--output=json``."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    head = [word for word in arguments[:end] if word in _GLOBAL]
    words = [_spelled_out(word) for word in arguments[:end] if word not in _GLOBAL]
    return [*head, *_command_first(words), *arguments[end:]]


def _spelled_out(word: str) -> str:
    """``-o=json`` as kubectl reads it; typer would read the value ``=json``."""
    name, equals, value = word.partition("=")
    return f"{_LONG[name]}={value}" if equals and name in _LONG else word


def _command_first(words: list[str]) -> list[str]:
    """With the options of the command behind it. Unchanged where none is in front of it, or there is no command."""
    early: list[str] = []
    late: list[str] = []
    place = 0
    while place < len(words) and words[place].startswith("-"):
        name, equals, _ = words[place].partition("=")
        if name in _VALUED:
            taken = words[place : place + (1 if equals else 2)]
            late += taken
        elif words[place][:2] in _LONG:  # -nshop
            taken = [words[place]]
            late += taken
        else:
            taken = [words[place]]
            early += taken
        place += len(taken)
    rest = words[place:]
    if rest and rest[0] in _GROUPS:  # dead -n shop list
        rest = [rest[0], *_command_first(rest[1:])]
    if not late or not rest:
        return [*words[:place], *rest]
    nested = rest[0] in _GROUPS and len(rest) > 1 and not rest[1].startswith("-")
    command = rest[: 2 if nested else 1]
    return [*early, *command, *late, *rest[len(command) :]]
