"""All conditions of a status, in a fixed order. Pure.

Suspended and Stalled are decided here. The others have a module each; Degraded is put together here from the problems that
:mod:`.degraded` lists.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kubesweep.text import clip
from kubesweep_controller.status.conditions.autoscaling import autoscaling
from kubesweep_controller.status.conditions.degraded import degradations
from kubesweep_controller.status.conditions.keeping_up import keeping_up_condition
from kubesweep_controller.status.conditions.readiness import ready
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.conditions.result import ConditionResult, find_condition
from kubesweep_controller.status.conditions.source_ready import EDIT_ONLY, source_ready
from kubesweep_controller.status.formatting import generation_of, namespaced_name, time_text
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Observation, suspended

__all__ = ["MAX_MESSAGE", "Conditions", "build_conditions"]

MAX_MESSAGE = 4096  # characters


class Conditions(NamedTuple):
    """``entries`` as in ``status.conditions``; ``ready_code``: the class of the error that Ready reports, empty if none."""

    entries: list[dict[str, Any]]
    ready_code: str


def build_conditions(observation: Observation, missed: float | None) -> Conditions:
    """``missed``: the latest tick that no sweep followed, in seconds since the epoch."""
    source, scaling = source_ready(observation), autoscaling(observation)
    readiness = ready(observation, source, scaling)
    results = {
        ConditionType.READY: readiness,
        ConditionType.SOURCE_READY: source,
        ConditionType.AUTOSCALING: scaling,
        ConditionType.SUSPENDED: _suspended(observation),
        ConditionType.DEGRADED: _degraded(observation, missed),
        ConditionType.STALLED: _stalled(readiness, source),
        ConditionType.KEEPING_UP: keeping_up_condition(observation),
    }
    return Conditions([_entry(observation, type_, result) for type_, result in results.items()], readiness.code)


def _entry(observation: Observation, type_: ConditionType, result: ConditionResult) -> dict[str, Any]:
    before = find_condition(previous(observation), type_)
    generation = generation_of(observation.body)
    if observation.plan is None and before and type_ in (ConditionType.SOURCE_READY, ConditionType.AUTOSCALING):
        generation = before.get("observedGeneration", 0)  # the condition is about the spec that is still served
    since = before.get("lastTransitionTime") if before and before.get("status") == result.status else None
    return {
        "type": str(type_),
        "status": result.status,
        "observedGeneration": generation,
        "lastTransitionTime": since or time_text(int(observation.now)),
        "reason": str(result.reason),
        "message": clip(result.message, MAX_MESSAGE),
    }


def _suspended(observation: Observation) -> ConditionResult:
    if not suspended(observation):
        return ConditionResult("False", Reason.ACTIVE, "the schedule is active")
    namespace, name = namespaced_name(observation.body)
    resume = f'kubectl patch sweepschedule {name} -n {namespace} --type merge -p \'{{"spec":{{"suspend":false}}}}\''
    return ConditionResult("True", Reason.SUSPENDED, f"no tick fires and no worker runs. To resume: {resume}")


def _degraded(observation: Observation, missed: float | None) -> ConditionResult:
    found = degradations(observation, missed)
    if not found:
        return ConditionResult("False", Reason.AS_EXPECTED, "no row, tick or sweep needs attention")
    return ConditionResult("True", found[0].reason, " ".join(problem.message for problem in found))


def _stalled(readiness: ConditionResult, source: ConditionResult) -> ConditionResult:
    only_an_edit = readiness.reason in (Reason.INVALID_SPEC, Reason.CHILD_REJECTED) or (
        readiness.reason == Reason.SOURCE_NOT_READY and source.reason in EDIT_ONLY
    )
    if only_an_edit:
        return ConditionResult("True", readiness.reason, readiness.message)
    return ConditionResult("False", Reason.AS_EXPECTED, "no problem requires an edit of the spec")
