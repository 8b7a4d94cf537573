"""Conditions: what the facts mean, each as a status, a reason and a sentence that says what to do next. Pure.

Ready, Degraded and the others are chains of checks; a check returns (reason, message) or None. Ready is True only where
all was looked at: *checked*, not *nothing bad was heard of*. The queue being away, or having lost everything, takes back
nothing that was learned about this plan before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kubesweep.queue.model import Finding, SweepState
from kubesweep.text import clip
from kubesweep_controller.status.conditions.autoscaling import lasts, scaling
from kubesweep_controller.status.conditions.degraded import degradations
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.conditions.result import ConditionResult, find, repeated
from kubesweep_controller.status.formatting import generation_of, namespaced_name, time_text
from kubesweep_controller.status.history import previous, sweeps_of
from kubesweep_controller.status.observation import Observation

__all__ = ["MAX_MESSAGE", "WARNINGS", "complaint", "conditions", "find", "suspended"]

MAX_MESSAGE = 4096
SETTLE = 15.0  # seconds
WARNINGS = ". Worth knowing: "
# What a worker may find that no change of the world around it cures.
EDIT_ONLY = frozenset({"SqlInvalid", "GeneratedColumn", "KeyTypeUnsupported", "NotATable"})
_WORD = re.compile(r"[^A-Za-z0-9_]")

Problem = tuple[Reason, str]


def conditions(observation: Observation, missed: float | None) -> list[dict[str, Any]]:
    """All conditions, in a fixed order. ``missed`` is the latest tick that never became a sweep, as far as is known."""
    source, autoscaling = _source(observation), scaling(observation)
    ready = _ready(observation, source, autoscaling)
    said = {
        ConditionType.READY: ready,
        ConditionType.SOURCE_READY: source,
        ConditionType.AUTOSCALING: autoscaling,
        ConditionType.SUSPENDED: _suspended(observation),
        ConditionType.DEGRADED: _degraded(observation, missed),
        ConditionType.STALLED: _stalled(ready, source),
    }
    return [_condition(observation, type_, result) for type_, result in said.items()]


def _condition(observation: Observation, type_: ConditionType, result: ConditionResult) -> dict[str, Any]:
    before = find(previous(observation), type_)
    generation = generation_of(observation.body)
    if observation.plan is None and before and type_ in (ConditionType.SOURCE_READY, ConditionType.AUTOSCALING):
        generation = before.get("observedGeneration", 0)  # it speaks of the spec that is still served
    since = before.get("lastTransitionTime") if before and before.get("status") == result.status else None
    return {
        "type": str(type_),
        "status": result.status,
        "observedGeneration": generation,
        "lastTransitionTime": since or time_text(int(observation.now)),
        "reason": str(result.reason),
        "message": clip(result.message, MAX_MESSAGE),
    }


def suspended(observation: Observation) -> bool:
    """Whether the spec says so, even one that is refused for something else."""
    if observation.schedule is not None:
        return observation.schedule.spec.suspend
    spec = observation.body.get("spec")
    return isinstance(spec, Mapping) and spec.get("suspend") is True


# Ready -------------------------------------------------------------------------------------------------------------


def _ready(observation: Observation, source: ConditionResult, autoscaling: ConditionResult) -> ConditionResult:
    checks: tuple[Callable[[], Problem | None], ...] = (
        lambda: _refused(observation),
        lambda: _children(observation),
        lambda: _failing(observation),
        lambda: _queue(observation),
        lambda: _source_refused(source),
        lambda: _effect(observation),
        lambda: _stuck(observation),
        lambda: _unchecked(observation, source, autoscaling),
    )
    for check in checks:
        if problem := check():
            return ConditionResult("False", *problem)
    return ConditionResult("True", Reason.READY, "the plan was checked, its objects are in place, the queue answers")


def _refused(observation: Observation) -> Problem | None:
    if observation.refusal is None:
        return None
    served = " What was valid before is still served." if previous(observation).get("plan") else ""
    problems = "; ".join(str(observation.refusal).splitlines())
    return Reason.INVALID_SPEC, f"{problems}.{served} Correct it and apply again."


def _children(observation: Observation) -> Problem | None:
    if observation.children.name_taken:
        return (
            Reason.NAME_TAKEN,
            f"{observation.children.name_taken}. Rename or delete that object, or name this schedule otherwise.",
        )
    if observation.children.rejected:
        return (
            Reason.CHILD_REJECTED,
            f"the API server refuses {observation.children.rejected}. Correct the spec and apply again.",
        )
    return None


def _failing(observation: Observation) -> Problem | None:
    if not observation.reconcile_failure:
        return None
    return (
        Reason.RECONCILE_FAILED,
        f"the objects of this schedule cannot be brought up to date: {observation.reconcile_failure}. What stood before goes on; it is tried again and again.",
    )


def _queue(observation: Observation) -> Problem | None:
    if observation.outage is None:
        return None
    rest = (
        ""
        if observation.outage.reason in ("QueueMemory", "QueueScript")
        else " Nothing is lost; it goes on when the queue does."
    )
    return Reason.QUEUE_UNAVAILABLE, f"{observation.outage.reason}: {observation.outage}.{rest}"


def _source_refused(source: ConditionResult) -> Problem | None:
    return (Reason.SOURCE_NOT_READY, f"{source.reason}: {source.message}") if source.status == "False" else None


def _effect(observation: Observation) -> Problem | None:
    finding = complaint(observation, "Effect")
    if finding is None:
        return None
    if finding.ok:
        before = find(previous(observation), ConditionType.READY) or {}
        same = observation.plan is not None and previous(observation).get("plan") == observation.plan.version.hash
        if same and before.get("reason") == Reason.EFFECT_NOT_READY and _too_early(observation, finding):
            return Reason.EFFECT_NOT_READY, str(before.get("message", ""))
        return None
    return Reason.EFFECT_NOT_READY, f"{finding.reason}: {finding.message}"


def _stuck(observation: Observation) -> Problem | None:
    return (
        (Reason.WORKER_STUCK, f"no worker starts: {observation.children.stuck}") if observation.children.stuck else None
    )


def _unchecked(observation: Observation, source: ConditionResult, autoscaling: ConditionResult) -> Problem | None:
    if source.status == "True":
        return None
    if suspended(observation):
        return Reason.SUSPENDED, "the source is checked when the schedule is resumed (spec.suspend: false)"
    waits = "a worker looks at the source and the effect; this takes until a pod of it runs"
    if observation.children.wanted or autoscaling.reason not in (Reason.SCALER_FAILED, Reason.SCALER_SILENT):
        return Reason.CHECKING, waits
    if autoscaling.reason == Reason.SCALER_FAILED and not lasts(observation, autoscaling):
        return Reason.CHECKING, f"{waits}. So far {autoscaling.message}"
    return Reason.WORKER_STUCK, f"no worker starts: {autoscaling.message}"


# The other conditions ----------------------------------------------------------------------------------------------


def _source(observation: Observation) -> ConditionResult:
    before = find(previous(observation), ConditionType.SOURCE_READY)
    if observation.plan is None:
        return (
            repeated(before)
            if before
            else ConditionResult("Unknown", Reason.CHECKING, "nobody looked: the spec is refused")
        )
    known = before if before and previous(observation).get("plan") == observation.plan.version.hash else None
    finding = complaint(observation, "SourceReady")
    if finding is None and known and known.get("status") != "Unknown":
        return repeated(known)
    if finding is None:
        return ConditionResult("Unknown", Reason.CHECKING, "no worker has looked at this version of the spec yet")
    if not finding.ok:
        return ConditionResult("False", _WORD.sub("", finding.reason)[:128] or "Refused", finding.message)
    if known and known.get("status") == "False" and _too_early(observation, finding):
        return repeated(known)
    if finding.reason != Reason.CHECKED and known and known.get("status") == "True":
        return repeated(known)  # that work succeeds says less than the check did
    warnings = _finding(observation, "SourceWarnings")
    more = f"{WARNINGS}{warnings.message}" if warnings is not None and not warnings.ok else ""
    return ConditionResult("True", Reason.CHECKED, finding.message + more)


def _finding(observation: Observation, kind: str) -> Finding | None:
    """What workers found last about this very plan."""
    if observation.stats is None or observation.plan is None:
        return None
    mine = observation.plan.version
    return next((one for one in observation.stats.findings if one.kind == kind and one.plan.same(mine)), None)


def complaint(observation: Observation, kind: str) -> Finding | None:
    """The finding, but a complaint that a later sweep refuted is over: of many workers the one that complained need not be
    the one that saw it work."""
    finding = _finding(observation, kind)
    if finding is None or finding.ok:
        return finding
    for sweep in sweeps_of(observation):
        completed = sweep.state is SweepState.COMPLETED and sweep.plan.same(finding.plan)
        if completed and sweep.finished is not None and sweep.finished > finding.at:
            return Finding(kind, True, "Works", "a sweep completed", finding.plan, sweep.finished)
    return finding


def _too_early(observation: Observation, finding: Finding) -> bool:
    """In an outage that spares some jobs, workers report success and failure in turns. While a sweep runs, a success
    counts when ``SETTLE`` seconds brought no other report, so that conditions do not flap."""
    sweep = observation.stats.sweep if observation.stats is not None else None
    runs = sweep is not None and sweep.state in (SweepState.PLANNING, SweepState.RUNNING)
    return runs and 0 <= observation.now - finding.at < SETTLE


def _suspended(observation: Observation) -> ConditionResult:
    if not suspended(observation):
        return ConditionResult("False", Reason.ACTIVE, "ticks fire")
    namespace, name = namespaced_name(observation.body)
    resume = f'kubectl patch sweepschedule {name} -n {namespace} --type merge -p \'{{"spec":{{"suspend":false}}}}\''
    return ConditionResult("True", Reason.SUSPENDED, f"no tick fires and no worker runs. Resume: {resume}")


def _degraded(observation: Observation, missed: float | None) -> ConditionResult:
    found = degradations(observation, missed)
    if not found:
        return ConditionResult("False", Reason.AS_EXPECTED, "no row, tick or sweep waits for anybody")
    return ConditionResult("True", found[0][0], " ".join(sentence for _, sentence in found))


def _stalled(ready: ConditionResult, source: ConditionResult) -> ConditionResult:
    only_an_edit = ready.reason in (Reason.INVALID_SPEC, Reason.CHILD_REJECTED) or (
        ready.reason == Reason.SOURCE_NOT_READY and source.reason in EDIT_ONLY
    )
    if only_an_edit:
        return ConditionResult("True", ready.reason, ready.message)
    return ConditionResult("False", Reason.AS_EXPECTED, "nothing that only an edit cures")
