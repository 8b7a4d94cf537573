"""The condition SourceReady, and what workers reported about the plan that is being served. Pure.

Workers report findings through the queue. A queue that is down, or that lost everything, invalidates nothing that was known about
this plan: then the condition stays as it was written.
"""

from __future__ import annotations

import re

from kubesweep.queue.model import Finding, SweepState
from kubesweep_controller.status.conditions.reasons import ConditionType, Reason
from kubesweep_controller.status.conditions.result import ConditionResult, find_condition, repeated
from kubesweep_controller.status.history import previous, sweeps_of
from kubesweep_controller.status.observation import Observation

__all__ = ["EDIT_ONLY", "current_finding", "is_settling", "last_finding", "source_ready"]

SETTLE = 15.0  # seconds without a failure report, while a sweep runs, after which a success counts
EDIT_ONLY = frozenset(
    {"SqlInvalid", "GeneratedColumn", "KeyTypeUnsupported", "NotATable"}
)  # only an edit of the spec fixes these
_WORD = re.compile(r"[^A-Za-z0-9_]")


def source_ready(observation: Observation) -> ConditionResult:
    """The condition SourceReady."""
    before = find_condition(previous(observation), ConditionType.SOURCE_READY)
    if observation.plan is None:
        if before:
            return repeated(before)
        return ConditionResult("Unknown", Reason.CHECKING, "not checked: the spec is invalid")
    known = before if before and previous(observation).get("plan") == observation.plan.version.hash else None
    finding = current_finding(observation, "SourceReady")
    if finding is None and known and known.get("status") != "Unknown":
        return repeated(known)
    if finding is None:
        return ConditionResult("Unknown", Reason.CHECKING, "no worker has checked this version of the spec yet")
    if not finding.ok:
        return ConditionResult("False", _WORD.sub("", finding.reason)[:128] or "Refused", finding.message)
    if known and known.get("status") == "False" and is_settling(observation, finding):
        return repeated(known)
    if finding.reason != Reason.CHECKED and known and known.get("status") == "True":
        return repeated(known)  # successful work says less than the check did
    warnings = last_finding(observation, "SourceWarnings")
    more = f". Warnings: {warnings.message}" if warnings is not None and not warnings.ok else ""
    return ConditionResult("True", Reason.CHECKED, finding.message + more)


def last_finding(observation: Observation, kind: str) -> Finding | None:
    """The latest finding of workers about the plan that is being served."""
    if observation.stats is None or observation.plan is None:
        return None
    mine = observation.plan.version
    return next((one for one in observation.stats.findings if one.kind == kind and one.plan.same(mine)), None)


def current_finding(observation: Observation, kind: str) -> Finding | None:
    """The latest finding, replaced by a success where a later sweep completed.

    The worker that reported a failure need not be the one that saw the sweep succeed.
    """
    finding = last_finding(observation, kind)
    if finding is None or finding.ok:
        return finding
    for sweep in sweeps_of(observation):
        completed = sweep.state is SweepState.COMPLETED and sweep.plan.same(finding.plan)
        if completed and sweep.finished is not None and sweep.finished > finding.at:
            return Finding(kind, True, "Works", "a sweep completed", finding.plan, sweep.finished)
    return finding


def is_settling(observation: Observation, finding: Finding) -> bool:
    """Whether a success is too recent to count.

    In a partial outage some jobs succeed and others fail, so reports alternate. While a sweep runs, a success counts only after
    ``SETTLE`` seconds without another report. Otherwise conditions would flap.
    """
    sweep = observation.stats.sweep if observation.stats is not None else None
    runs = sweep is not None and sweep.state in (SweepState.PLANNING, SweepState.RUNNING)
    return runs and 0 <= observation.now - finding.at < SETTLE
