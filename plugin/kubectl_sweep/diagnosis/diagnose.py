"""From facts to one diagnosis: the first cause that holds, the most decisive first. Pure."""

from __future__ import annotations

from collections.abc import Callable

from kubectl_sweep.diagnosis import readiness, serving, sweeps, workers
from kubectl_sweep.diagnosis.causes import Diagnosis
from kubectl_sweep.diagnosis.facts import Facts

__all__ = ["diagnose"]

_CHECKS: tuple[Callable[[Facts], Diagnosis | None], ...] = (
    serving.deleted,
    serving.awaiting_nobody,
    serving.invalid_spec,
    serving.suspended,
    serving.crd_outdated,
    sweeps.awaiting_approval,
    serving.children_refused,
    serving.queue_unavailable,
    readiness.source_not_ready,
    readiness.effect_not_ready,
    workers.pod_problem,
    workers.pods_refused,
    workers.scaler_not_ready,
    workers.keda_missing,
    workers.no_worker,
    readiness.checking,
    workers.tick_failing,
    workers.tick_missed,
    serving.controller_silent,
    sweeps.paused,
    sweeps.throttled,
    sweeps.halted_or_failed,
    sweeps.lost,
    sweeps.rows_retrying,
    sweeps.falling_behind,
    sweeps.dead_letters,
    sweeps.queue_evicts,
    sweeps.degraded,
    sweeps.running,
    sweeps.dry_run,
    sweeps.never_swept,
)


def diagnose(facts: Facts) -> Diagnosis:
    """Why the schedule is late or wrong, or that it is not."""
    found = next((each for check in _CHECKS if (each := check(facts)) is not None), None) or sweeps.well(facts)
    return found._replace(evidence=(*found.evidence, *_limits(facts)))


def _limits(facts: Facts) -> tuple[str, ...]:
    """What this answer could not take into account."""
    unread = (
        (f"You may not read {', '.join(facts.unread)}, so what they show is not considered.",) if facts.unread else ()
    )
    status = [each for each in facts.pruned if each.startswith("status.")]
    pruned = (f"The cluster's CRD is older than its controller and drops {', '.join(status[:5])}.",) if status else ()
    return (*unread, *pruned)
