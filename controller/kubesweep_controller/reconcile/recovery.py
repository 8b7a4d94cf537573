"""What the queue lost is swept again at once: the database is the truth, so a new sweep finds whatever is left.

The heal tick carries the lost sweep's name. However many controllers see the loss, and however often, the queue makes one
sweep of it.
"""

from __future__ import annotations

from kubesweep.queue.model import Sweep, SweepRequest, SweepState
from kubesweep_controller.status.conditions.source_ready import current_finding
from kubesweep_controller.status.history import sweeps_of
from kubesweep_controller.status.observation import Observation, suspended

__all__ = ["needs_check", "needs_recovery", "recovery_request"]


def needs_recovery(observation: Observation) -> bool:
    """True where the latest sweep is Lost and the schedule may sweep."""
    return recovery_request(observation) is not None


def recovery_request(observation: Observation) -> SweepRequest | None:
    """The sweep to open in place of the lost one, if there is one."""
    lost = _lost(observation)
    if lost is None or observation.plan is None or suspended(observation):
        return None
    plan = observation.plan
    return SweepRequest(
        tick=observation.now, plan=plan.version, mode=plan.mode, retention=plan.retention, dedup_key=f"heal/{lost.id}"
    )


def _lost(observation: Observation) -> Sweep | None:
    if observation.stats is None:
        return None
    latest = next(iter(sweeps_of(observation)), None)
    return latest if latest is not None and latest.state is SweepState.LOST else None


def needs_check(observation: Observation) -> bool:
    """True where a worker complained about this plan: it should look again, for nobody tells it when the cause is gone."""
    if observation.stats is None or observation.plan is None or suspended(observation):
        return False
    found = (current_finding(observation, kind) for kind in ("SourceReady", "Effect"))
    return any(finding is not None and not finding.ok for finding in found)
