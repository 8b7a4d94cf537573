"""Dead letters in Degraded and in Events: how many, which error classes, and what to type. Pure.

Messages contain keys and the words of the database or the receiver, never a row's data. The queue counts. This module compares its
groups with those in the previous status, so a restarted controller still knows what was reported.
"""

from __future__ import annotations

from kubesweep.quantities import are_dead_letters
from kubesweep.queue.model import ErrorGroup, key_text
from kubesweep.text import clip, escaped
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.conditions.result import ConditionProblem, find_condition
from kubesweep_controller.status.formatting import annotate, parse_time, rows
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["dead_letter_message", "dead_letters", "grown_groups"]

SHOWN_GROUPS = 5
SHOWN_KEYS = 3


def dead_letters(observation: Observation) -> ConditionProblem | None:
    """The problem for Degraded. It lasts until no dead letter is left and none is being retried."""
    dead, groups = _dead(observation)
    if dead:
        named = ", ".join(f"{count:,} {clip(error, 64)}" for error, count in groups[:SHOWN_GROUPS])
        more = ", ..." if len(groups) > SHOWN_GROUPS else ""
        which = f" ({named}{more})" if named else ""
        retry = annotate(observation.body, "retry-dead-letters")
        details = f"{are_dead_letters(dead)}{which}: see status.errors. After a fix, to retry: {retry}."
        return ConditionProblem(Reason.DEAD_LETTERS, details + _set_aside(observation))
    if observation.stats is not None and observation.stats.excluded and _were_reported(observation):
        waiting = rows(observation.stats.excluded)
        return ConditionProblem(Reason.DEAD_LETTERS, f"Dead letters are being retried; {waiting} still to go.")
    return None


def _set_aside(observation: Observation) -> str:
    """A sentence about dead letters of a table that is no longer swept, as far as the groups show."""
    here = observation.stats.origin if observation.stats is not None else ""
    aside = sum(group.count for group in observation.groups if here and group.origin not in ("", here))
    if not aside:
        return ""
    return f" {rows(aside)} of another table than {clip(here, 128)} are ignored and expire after deadLetters.retention."


def _dead(observation: Observation) -> tuple[int, list[tuple[str, int]]]:
    if observation.stats is not None:
        return observation.stats.dead, [(group.error, group.count) for group in observation.groups]
    status = previous(observation)
    groups = [(str(each.get("error")), int(each.get("count", 0))) for each in status.get("errors") or ()]
    return int((status.get("queue") or {}).get("dead", 0)), groups


def _were_reported(observation: Observation) -> bool:
    before = find_condition(previous(observation), ConditionType.DEGRADED) or {}
    return before.get("status") == "True" and before.get("reason") == Reason.DEAD_LETTERS


def grown_groups(observation: Observation) -> list[ErrorGroup]:
    """The error classes that gained dead letters, or the same ones again, since the status was written."""
    known = {str(each.get("error")): each for each in previous(observation).get("errors") or ()}
    found = []
    for group in observation.groups:
        old = known.get(clip(group.error, 128), {})
        if group.count > int(old.get("count", 0)) or int(group.last) > (parse_time(old.get("lastTime")) or 0):
            found.append(group)
    return found


def dead_letter_message(observation: Observation, group: ErrorGroup) -> str:
    """One error class for an Event: which rows, what was reported, what to do. It has no number, because that one grows."""
    keys = ", ".join(text for key in group.samples[:SHOWN_KEYS] if len(text := escaped(key_text(key))) <= 80)
    which = f" (such as {keys})" if keys else ""
    retry = annotate(observation.body, "retry-dead-letters")
    error, message = clip(group.error, 128), clip(group.message, 500).rstrip(".")
    return f"{error}: rows used up their attempts{which}: {message}. After a fix, to retry: {retry}"
