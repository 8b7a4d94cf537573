"""The condition KeepingUp: whether the sweeps finish rows at least as fast as rows become stale. Pure.

:mod:`kubesweep.backlog` has the arithmetic. While the queue does not respond the condition stays as it was written.
"""

from __future__ import annotations

from kubesweep.backlog import Rating, keeping_up
from kubesweep_controller.status.conditions.reasons import ConditionType
from kubesweep_controller.status.conditions.result import ConditionResult, find_condition, repeated
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation

__all__ = ["keeping_up_condition"]

_STATUS = {True: "True", False: "False", None: "Unknown"}


def keeping_up_condition(observation: Observation) -> ConditionResult:
    """The condition KeepingUp."""
    before = find_condition(previous(observation), ConditionType.KEEPING_UP)
    if observation.stats is None:
        return repeated(before) if before else ConditionResult("Unknown", Rating.NOT_ENOUGH_SWEEPS, "no sweep is known")
    was_behind = before is not None and before.get("status") == "False"
    found = keeping_up(observation.stats, observation.backlog, observation.now, was_behind=was_behind)
    return ConditionResult(_STATUS[found.status], found.reason, found.message)
