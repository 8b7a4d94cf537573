"""A group of commands in which an unknown command gets the one that was meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from typer.core import TyperGroup

__all__ = ["HintingGroup"]


class HintingGroup(TyperGroup):
    """Its signatures are those of typer, whose classes of click have no public names."""

    # From a word, and the name of a group below the program, to a sentence; empty where nothing is known about it.
    meant: ClassVar[Callable[[str, str], str]]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word, group = args[0], "" if ctx.parent is None else str(self.name)
        if self.get_command(ctx, word) is None and not ctx.resilient_parsing:
            hint = type(self).meant(word, group)
            if hint:
                ctx.fail(f"No such command {word!r}. {hint}")
        return super().resolve_command(ctx, args)
