"""A group of commands: its help has sections, and an unknown command gets the one that was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubesweep_cli.shell.hinting_group import HintingGroup
from kubesweep_cli.syntax.arguments import in_typers_order

__all__ = ["CommandGroup", "meant"]

LONGEST = 200  # characters of a sentence about a command, which wraps

_SECTIONS = {
    "Run": ("demo", "init", "check", "run", "worker"),
    "See": ("status", "history", "dashboard"),
    "Act": ("trigger", "approve", "throttle", "suspend", "resume", "dead"),
    "Program": ("completion", "help", "version"),
}
# What other programs call it, such as kubectl, systemctl and clients of queues.
_MEANT = {
    **dict.fromkeys(("get", "list", "ls", "ps", "describe", "show", "info", "schedule", "schedules", "top"), "status"),
    **dict.fromkeys(("watch",), "status --watch"),
    **dict.fromkeys(("why", "diagnose", "doctor"), "status NAME"),
    **dict.fromkeys(("events", "sweeps", "runs", "past"), "history"),
    **dict.fromkeys(
        ("log", "logs"), "status` for problems; the log is kubesweep.log in your state folder, and `kubesweep run -v"
    ),
    **dict.fromkeys(("apply", "create", "start", "exec", "serve", "up"), "run sweep.yaml"),
    **dict.fromkeys(("sweep", "once", "now"), "run --once sweep.yaml` or `kubesweep trigger NAME"),
    **dict.fromkeys(("plan", "diff", "preview", "dry-run"), "run --dry-run sweep.yaml"),
    **dict.fromkeys(("validate", "lint", "test", "verify", "explain"), "check sweep.yaml"),
    **dict.fromkeys(("stop", "disable", "cancel"), "suspend NAME"),
    **dict.fromkeys(("unsuspend", "unpause", "enable", "continue"), "resume NAME"),
    **dict.fromkeys(("pause", "limit", "rate", "scale"), "throttle NAME pause` or `kubesweep suspend NAME"),
    **dict.fromkeys(("retry", "replay"), "dead retry NAME"),
    **dict.fromkeys(("delete", "rm", "remove", "purge"), "dead purge NAME"),
    **dict.fromkeys(("dlq", "letters", "errors", "failed"), "dead list"),
    **dict.fromkeys(("ui", "console", "web"), "dashboard"),
    **dict.fromkeys(("workers",), "worker sweep.yaml"),
}
MEANT_DEAD = {
    **dict.fromkeys(("get", "ls"), "dead list"),
    **dict.fromkeys(("describe", "view", "cat"), "dead show"),
    **dict.fromkeys(("replay", "requeue", "redrive"), "dead retry NAME"),
    **dict.fromkeys(("delete", "rm", "remove", "clear", "drop"), "dead purge NAME"),
}


def meant(word: str, group: str = "") -> str:
    """A sentence for a word that is no command; empty where nothing is known about it."""
    if not group and (Path(word).exists() or word.endswith((".yaml", ".yml"))):
        return f"To run the schedules of a file, write `kubesweep run {word}`; to check it first, `kubesweep check {word}`."
    command = (MEANT_DEAD if group == "dead" else _MEANT).get(word)
    return f"Did you mean `kubesweep {command}`?" if command else ""


class CommandGroup(HintingGroup):
    meant = staticmethod(meant)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """A shell that completes has the words as they are typed."""
        typed = ctx.resilient_parsing and ctx.parent is None
        return super().parse_args(ctx, in_typers_order(args) if typed else args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        names = self.list_commands(ctx)
        sections = {title: [name for name in listed if name in names] for title, listed in _SECTIONS.items()}
        placed = {name for listed in sections.values() for name in listed}
        sections["Commands"] = [name for name in names if name not in placed]
        for title, listed in sections.items():
            commands = [(name, self.get_command(ctx, name)) for name in listed]
            rows = [(name, one.get_short_help_str(LONGEST)) for name, one in commands if one is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
