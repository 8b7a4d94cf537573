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
from kubesweep_controller.status.autoscaling import lasts, scaling
from kubesweep_controller.status.condition import Verdict, find, repeated
from kubesweep_controller.status.degraded import degradations
from kubesweep_controller.status.formatting import generation_of, place, time_text
from kubesweep_controller.status.history import previous, sweeps_of
from kubesweep_controller.status.observation import Facts
from kubesweep_controller.status.reasons import ConditionType, Reason

__all__ = ["MAX_MESSAGE", "WARNINGS", "complaint", "conditions", "find", "suspended"]

MAX_MESSAGE = 4096
SETTLE = 15.0  # seconds
WARNINGS = ". Worth knowing: "
# What a worker may find that no change of the world around it cures.
EDIT_ONLY = frozenset({"SqlInvalid", "GeneratedColumn", "KeyTypeUnsupported", "NotATable"})
_WORD = re.compile(r"[^A-Za-z0-9_]")

Problem = tuple[Reason, str]


def conditions(facts: Facts, missed: float | None) -> list[dict[str, Any]]:
    """All conditions, in a fixed order. ``missed`` is the latest tick that never became a sweep, as far as is known."""
    source, autoscaling = _source(facts), scaling(facts)
    ready = _ready(facts, source, autoscaling)
    said = {
        ConditionType.READY: ready,
        ConditionType.SOURCE_READY: source,
        ConditionType.AUTOSCALING: autoscaling,
        ConditionType.SUSPENDED: _suspended(facts),
        ConditionType.DEGRADED: _degraded(facts, missed),
        ConditionType.STALLED: _stalled(ready, source),
    }
    return [_condition(facts, type_, verdict) for type_, verdict in said.items()]


def _condition(facts: Facts, type_: ConditionType, verdict: Verdict) -> dict[str, Any]:
    before = find(previous(facts), type_)
    generation = generation_of(facts.body)
    if facts.plan is None and before and type_ in (ConditionType.SOURCE_READY, ConditionType.AUTOSCALING):
        generation = before.get("observedGeneration", 0)  # it speaks of the spec that is still served
    since = before.get("lastTransitionTime") if before and before.get("status") == verdict.status else None
    return {
        "type": str(type_),
        "status": verdict.status,
        "observedGeneration": generation,
        "lastTransitionTime": since or time_text(int(facts.now)),
        "reason": str(verdict.reason),
        "message": clip(verdict.message, MAX_MESSAGE),
    }


def suspended(facts: Facts) -> bool:
    """Whether the spec says so, even one that is refused for something else."""
    if facts.schedule is not None:
        return facts.schedule.spec.suspend
    spec = facts.body.get("spec")
    return isinstance(spec, Mapping) and spec.get("suspend") is True


# Ready -------------------------------------------------------------------------------------------------------------


def _ready(facts: Facts, source: Verdict, autoscaling: Verdict) -> Verdict:
    checks: tuple[Callable[[], Problem | None], ...] = (
        lambda: _refused(facts),
        lambda: _children(facts),
        lambda: _failing(facts),
        lambda: _queue(facts),
        lambda: _source_refused(source),
        lambda: _effect(facts),
        lambda: _stuck(facts),
        lambda: _unchecked(facts, source, autoscaling),
    )
    for check in checks:
        if problem := check():
            return Verdict("False", *problem)
    return Verdict("True", Reason.READY, "the plan was checked, its objects are in place, the queue answers")


def _refused(facts: Facts) -> Problem | None:
    if facts.refusal is None:
        return None
    served = " What was valid before is still served." if previous(facts).get("plan") else ""
    problems = "; ".join(str(facts.refusal).splitlines())
    return Reason.INVALID_SPEC, f"{problems}.{served} Correct it and apply again."


def _children(facts: Facts) -> Problem | None:
    if facts.children.taken:
        return (
            Reason.NAME_TAKEN,
            f"{facts.children.taken}. Rename or delete that object, or name this schedule otherwise.",
        )
    if facts.children.rejected:
        return (
            Reason.CHILD_REJECTED,
            f"the API server refuses {facts.children.rejected}. Correct the spec and apply again.",
        )
    return None


def _failing(facts: Facts) -> Problem | None:
    if not facts.trouble:
        return None
    return (
        Reason.RECONCILE_FAILED,
        f"the objects of this schedule cannot be brought up to date: {facts.trouble}. What stood before goes on; it is tried again and again.",
    )


def _queue(facts: Facts) -> Problem | None:
    if facts.outage is None:
        return None
    rest = (
        ""
        if facts.outage.reason in ("QueueMemory", "QueueScript")
        else " Nothing is lost; it goes on when the queue does."
    )
    return Reason.QUEUE_UNAVAILABLE, f"{facts.outage.reason}: {facts.outage}.{rest}"


def _source_refused(source: Verdict) -> Problem | None:
    return (Reason.SOURCE_NOT_READY, f"{source.reason}: {source.message}") if source.status == "False" else None


def _effect(facts: Facts) -> Problem | None:
    finding = complaint(facts, "Effect")
    if finding is None:
        return None
    if finding.ok:
        before = find(previous(facts), ConditionType.READY) or {}
        same = facts.plan is not None and previous(facts).get("plan") == facts.plan.version.hash
        if same and before.get("reason") == Reason.EFFECT_NOT_READY and _too_early(facts, finding):
            return Reason.EFFECT_NOT_READY, str(before.get("message", ""))
        return None
    return Reason.EFFECT_NOT_READY, f"{finding.reason}: {finding.message}"


def _stuck(facts: Facts) -> Problem | None:
    return (Reason.WORKER_STUCK, f"no worker starts: {facts.children.stuck}") if facts.children.stuck else None


def _unchecked(facts: Facts, source: Verdict, autoscaling: Verdict) -> Problem | None:
    if source.status == "True":
        return None
    if suspended(facts):
        return Reason.SUSPENDED, "the source is checked when the schedule is resumed (spec.suspend: false)"
    waits = "a worker looks at the source and the effect; this takes until a pod of it runs"
    if facts.children.wanted or autoscaling.reason not in (Reason.SCALER_FAILED, Reason.SCALER_SILENT):
        return Reason.CHECKING, waits
    if autoscaling.reason == Reason.SCALER_FAILED and not lasts(facts, autoscaling):
        return Reason.CHECKING, f"{waits}. So far {autoscaling.message}"
    return Reason.WORKER_STUCK, f"no worker starts: {autoscaling.message}"


# The other conditions ----------------------------------------------------------------------------------------------


def _source(facts: Facts) -> Verdict:
    before = find(previous(facts), ConditionType.SOURCE_READY)
    if facts.plan is None:
        return repeated(before) if before else Verdict("Unknown", Reason.CHECKING, "nobody looked: the spec is refused")
    known = before if before and previous(facts).get("plan") == facts.plan.version.hash else None
    finding = complaint(facts, "SourceReady")
    if finding is None and known and known.get("status") != "Unknown":
        return repeated(known)
    if finding is None:
        return Verdict("Unknown", Reason.CHECKING, "no worker has looked at this version of the spec yet")
    if not finding.ok:
        return Verdict("False", _WORD.sub("", finding.reason)[:128] or "Refused", finding.message)
    if known and known.get("status") == "False" and _too_early(facts, finding):
        return repeated(known)
    if finding.reason != Reason.CHECKED and known and known.get("status") == "True":
        return repeated(known)  # that work succeeds says less than the check did
    warnings = _finding(facts, "SourceWarnings")
    more = f"{WARNINGS}{warnings.message}" if warnings is not None and not warnings.ok else ""
    return Verdict("True", Reason.CHECKED, finding.message + more)


def _finding(facts: Facts, kind: str) -> Finding | None:
    """What workers found last about this very plan."""
    if facts.stats is None or facts.plan is None:
        return None
    mine = facts.plan.version
    return next((one for one in facts.stats.findings if one.kind == kind and one.plan.same(mine)), None)


def complaint(facts: Facts, kind: str) -> Finding | None:
    """The finding, but a complaint that a later sweep refuted is over: of many workers the one that complained need not be
    the one that saw it work."""
    finding = _finding(facts, kind)
    if finding is None or finding.ok:
        return finding
    for sweep in sweeps_of(facts):
        completed = sweep.state is SweepState.COMPLETED and sweep.plan.same(finding.plan)
        if completed and sweep.finished is not None and sweep.finished > finding.at:
            return Finding(kind, True, "Works", "a sweep completed", finding.plan, sweep.finished)
    return finding


def _too_early(facts: Facts, finding: Finding) -> bool:
    """In an outage that spares some jobs, workers report success and failure in turns. While a sweep runs, a success
    counts when ``SETTLE`` seconds brought no other report, so that conditions do not flap."""
    sweep = facts.stats.sweep if facts.stats is not None else None
    runs = sweep is not None and sweep.state in (SweepState.PLANNING, SweepState.RUNNING)
    return runs and 0 <= facts.now - finding.at < SETTLE


def _suspended(facts: Facts) -> Verdict:
    if not suspended(facts):
        return Verdict("False", Reason.ACTIVE, "ticks fire")
    namespace, name = place(facts.body)
    resume = f'kubectl patch sweepschedule {name} -n {namespace} --type merge -p \'{{"spec":{{"suspend":false}}}}\''
    return Verdict("True", Reason.SUSPENDED, f"no tick fires and no worker runs. Resume: {resume}")


def _degraded(facts: Facts, missed: float | None) -> Verdict:
    found = degradations(facts, missed)
    if not found:
        return Verdict("False", Reason.AS_EXPECTED, "no row, tick or sweep waits for anybody")
    return Verdict("True", found[0][0], " ".join(sentence for _, sentence in found))


def _stalled(ready: Verdict, source: Verdict) -> Verdict:
    only_an_edit = ready.reason in (Reason.INVALID_SPEC, Reason.CHILD_REJECTED) or (
        ready.reason == Reason.SOURCE_NOT_READY and source.reason in EDIT_ONLY
    )
    if only_an_edit:
        return Verdict("True", ready.reason, ready.message)
    return Verdict("False", Reason.AS_EXPECTED, "nothing that only an edit cures")
