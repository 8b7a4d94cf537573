"""Dead letters as a person is told of them: one sentence in Degraded, and which error classes deserve an Event. Pure.

Told are keys and what the database or the receiver said, never a row's data. The queue counts; this compares its groups with
those in the status, so what was told before is known after a restart too.
"""

from __future__ import annotations

from kubesweep.queue.model import ErrorGroup, key_text
from kubesweep.text import clip, escaped
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.formatting import annotate, parse_time, rows
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["dead_letter_message", "dead_letters", "risen"]

SHOWN_GROUPS = 5
SHOWN_KEYS = 3


def dead_letters(observation: Observation) -> tuple[Reason, str] | None:
    """What Degraded says of them. They count until none is left and none of them is being tried again."""
    dead, groups = _dead(observation)
    if dead:
        named = ", ".join(f"{count:,} {clip(error, 64)}" for error, count in groups[:SHOWN_GROUPS])
        more = ", ..." if len(groups) > SHOWN_GROUPS else ""
        which = f" ({named}{more})" if named else ""
        verb = "is a dead letter" if dead == 1 else "are dead letters"
        retry = annotate(observation.body, "retry-dead-letters")
        told = (
            f"{rows(dead)} {verb}{which}: see status.errors. Once cured, try again: {retry}.{_set_aside(observation)}"
        )
        return Reason.DEAD_LETTERS, told
    if observation.stats is not None and observation.stats.excluded and _was_told(observation):
        return (
            Reason.DEAD_LETTERS,
            f"Rows that had died are being tried again; {rows(observation.stats.excluded)} wait for it.",
        )
    return None


def _set_aside(observation: Observation) -> str:
    """Dead letters of a table that is not swept any more, as far as the groups tell."""
    here = observation.stats.origin if observation.stats is not None else ""
    aside = sum(group.count for group in observation.groups if here and group.origin not in ("", here))
    return (
        f" {rows(aside)} of another table than {clip(here, 128)} are set aside and expire by retention."
        if aside
        else ""
    )


def _dead(observation: Observation) -> tuple[int, list[tuple[str, int]]]:
    if observation.stats is not None:
        return observation.stats.dead, [(group.error, group.count) for group in observation.groups]
    status = previous(observation)
    groups = [(str(each.get("error")), int(each.get("count", 0))) for each in status.get("errors") or ()]
    return int((status.get("queue") or {}).get("dead", 0)), groups


def _was_told(observation: Observation) -> bool:
    return any(
        each.get("type") == ConditionType.DEGRADED
        and each.get("status") == "True"
        and each.get("reason") == Reason.DEAD_LETTERS
        for each in previous(observation).get("conditions") or ()
    )


def risen(observation: Observation) -> list[ErrorGroup]:
    """The error classes of which more rows died, or some again, since the status was written."""
    known = {str(each.get("error")): each for each in previous(observation).get("errors") or ()}
    found = []
    for group in observation.groups:
        old = known.get(clip(group.error, 128), {})
        if group.count > int(old.get("count", 0)) or int(group.last) > (parse_time(old.get("lastTime")) or 0):
            found.append(group)
    return found


def dead_letter_message(observation: Observation, group: ErrorGroup) -> str:
    """One error class: which rows, what was said, what to do. Without its number, which grows."""
    keys = ", ".join(text for key in group.samples[:SHOWN_KEYS] if len(text := escaped(key_text(key))) <= 80)
    which = f" (such as {keys})" if keys else ""
    retry = annotate(observation.body, "retry-dead-letters")
    error, message = clip(group.error, 128), clip(group.message, 500).rstrip(".")
    return f"{error}: rows used up their attempts{which}: {message}. Once cured, try again: {retry}"
