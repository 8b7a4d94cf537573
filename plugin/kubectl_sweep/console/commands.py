"""The commands of ``kubectl sweep`` that the console shows for its buttons. Pure."""

from __future__ import annotations

import shlex

from kubesweep_console.documents import Schedule
from kubesweep_console.provider import Action, ActionKind

__all__ = ["command_of"]

_VERBS = {
    ActionKind.TRIGGER: "trigger",
    ActionKind.APPROVE: "approve",
    ActionKind.PAUSE: "suspend",
    ActionKind.RESUME: "resume",
    ActionKind.RETRY: "dead retry",
    ActionKind.PURGE: "dead purge",
}


def command_of(action: Action, options: str = "") -> str:
    """What to type. ``options``: global options that the console was started with, such as ``--context test``."""
    meta = action.document.get("metadata") or {}
    schedule = Schedule(action.document)
    paused = action.kind is ActionKind.RESUME and schedule.paused and not schedule.suspended
    words = [
        "kubectl sweep",
        "throttle" if paused else _VERBS[action.kind],
        shlex.quote(str(meta.get("name", ""))),
        *(["reset"] if paused else []),
        "-n",
        shlex.quote(str(meta.get("namespace", ""))),
    ]
    if action.kind in (ActionKind.RETRY, ActionKind.PURGE):
        words += ["--error", shlex.quote(action.error)] if action.error else ["--all"]
    return " ".join([*words, *filter(None, [options])])
