"""Recovery: a new sweep in place of one that the queue lost, and a new check after a worker reported a problem.

The database keeps the stale rows, so a new sweep finds whatever the lost one left. Its request carries the id of the lost
sweep: the queue opens one sweep for it, however many controllers notice the loss.
"""

from __future__ import annotations

from kubesweep import scheduling
from kubesweep.queue.model import Sweep, SweepRequest, SweepState
from kubesweep_controller.status.conditions import complaint, suspended
from kubesweep_controller.status.history import sweeps_of
from kubesweep_controller.status.observation import Facts

__all__ = ["needs_check", "needs_recovery", "recovery_request"]


def needs_recovery(facts: Facts) -> bool:
    """True where the latest sweep is Lost and the schedule may sweep."""
    return recovery_request(facts) is not None


def recovery_request(facts: Facts) -> SweepRequest | None:
    """The sweep to open in place of the lost one, if there is one."""
    lost = _lost(facts)
    if lost is None or facts.plan is None or suspended(facts):
        return None
    return scheduling.recovery_request(facts.plan, lost.id, facts.now)


def _lost(facts: Facts) -> Sweep | None:
    if facts.stats is None:
        return None
    latest = next(iter(sweeps_of(facts)), None)
    return latest if latest is not None and latest.state is SweepState.LOST else None


def needs_check(facts: Facts) -> bool:
    """True where a worker reported a problem with this plan. Only another check finds out that its cause is gone."""
    if facts.stats is None or facts.plan is None or suspended(facts):
        return False
    found = (complaint(facts, kind) for kind in ("SourceReady", "Effect"))
    return any(finding is not None and not finding.ok for finding in found)
