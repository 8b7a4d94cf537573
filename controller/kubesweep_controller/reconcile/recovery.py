"""What repeats work after a failure: a new sweep in place of one that the queue lost, and a new check after one that failed. Pure.

The database keeps the stale rows, so a new sweep finds whatever the lost one left. Its request carries the id of the lost
sweep: the queue opens one sweep for it, however many controllers notice the loss. A check that reported a problem is repeated,
because only another check finds out that the cause is gone.
"""

from __future__ import annotations

from kubesweep import scheduling
from kubesweep.queue.model import Sweep, SweepRequest, SweepState
from kubesweep_controller.status.conditions.source_ready import current_finding
from kubesweep_controller.status.history import sweeps_of
from kubesweep_controller.status.observation import Observation, suspended

__all__ = ["needs_check", "recovery_request"]


def recovery_request(observation: Observation) -> SweepRequest | None:
    """The sweep to open in place of the lost one, if there is one."""
    lost = _lost(observation)
    if lost is None or observation.plan is None or suspended(observation):
        return None
    return scheduling.recovery_request(observation.plan, lost.id, observation.now)


def _lost(observation: Observation) -> Sweep | None:
    if observation.stats is None:
        return None
    latest = next(iter(sweeps_of(observation)), None)
    return latest if latest is not None and latest.state is SweepState.LOST else None


def needs_check(observation: Observation) -> bool:
    """True where a worker reported a problem with this plan."""
    if observation.stats is None or observation.plan is None or suspended(observation):
        return False
    found = (current_finding(observation, kind) for kind in ("SourceReady", "Effect"))
    return any(finding is not None and not finding.ok for finding in found)
