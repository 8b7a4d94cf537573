"""What a tired person types for a verb of ``kubectl sweep``, and the verb that does it."""

from __future__ import annotations

from typing import Any

from kubectl_sweep.global_options import VALUED, split
from kubesweep_cli.shell.hinting_group import HintingGroup

__all__ = ["VerbGroup", "meant"]

_MEANT = {
    **dict.fromkeys(("list", "ls", "ps", "top", "schedules"), "get"),
    **dict.fromkeys(("watch",), "get -w"),
    **dict.fromkeys(("describe", "show", "info", "history", "events", "sweeps"), "status NAME"),
    **dict.fromkeys(("diagnose", "doctor", "explain", "debug"), "why NAME"),
    **dict.fromkeys(("run", "start", "once", "now", "sweep"), "trigger NAME"),
    **dict.fromkeys(("stop", "disable", "cancel"), "suspend NAME"),
    **dict.fromkeys(("unsuspend", "unpause", "enable", "continue"), "resume NAME"),
    **dict.fromkeys(("pause",), "throttle NAME pause` or `kubectl sweep suspend NAME"),
    **dict.fromkeys(("limit", "rate", "scale"), "throttle NAME RATE"),
    **dict.fromkeys(("retry", "replay"), "dead retry NAME"),
    **dict.fromkeys(("purge",), "dead purge NAME"),
    **dict.fromkeys(("dlq", "letters", "errors", "failed"), "dead list"),
    **dict.fromkeys(("log",), "logs NAME"),
    **dict.fromkeys(("validate", "lint", "test", "verify"), "check NAME"),
    **dict.fromkeys(("ui", "console", "web"), "dashboard"),
    **dict.fromkeys(("dump", "bundle", "support"), "report NAME"),
}
_MEANT_DEAD = {
    **dict.fromkeys(("get", "ls"), "dead list"),
    **dict.fromkeys(("describe", "view", "cat"), "dead show NAME"),
    **dict.fromkeys(("replay", "requeue", "redrive"), "dead retry NAME"),
    **dict.fromkeys(("delete", "rm", "remove", "clear", "drop"), "dead purge NAME"),
}
# What changes objects is kubectl's own.
_KUBECTL = {
    "apply": "apply -f FILE",
    "create": "apply -f FILE",
    "edit": "edit sweepschedule NAME",
    "delete": "delete sweepschedule NAME",
}


def meant(word: str, group: str = "") -> str:
    """A sentence for a word that is no verb; empty where nothing is known about it."""
    if not group and word in _KUBECTL:
        return f"That is kubectl's own: `kubectl {_KUBECTL[word]}`."
    verb = (_MEANT_DEAD if group == "dead" else _MEANT).get(word)
    return f"Did you mean `kubectl sweep {verb}`?" if verb else ""


class VerbGroup(HintingGroup):
    meant = staticmethod(meant)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """With the options of the program in front of the verb, where the parser accepts them. One without its value at the end is an
        error, or what a shell completes: without the verb, which would be taken for the value."""
        if ctx.parent is not None:
            return super().parse_args(ctx, args)
        options, rest = split(args)
        lacks_value = bool(options) and options[-1] in VALUED
        return super().parse_args(ctx, options if lacks_value else [*options, *rest])
