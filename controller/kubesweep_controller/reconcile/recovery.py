"""What the queue lost is swept again at once: the database is the truth, so a new sweep finds whatever is left.

The heal tick carries the lost sweep's name. However many controllers see the loss, and however often, the queue makes one
sweep of it.
"""

from __future__ import annotations

from kubesweep.queue.model import Sweep, SweepRequest, SweepState
from kubesweep_controller.status.conditions import complaint, suspended
from kubesweep_controller.status.history import sweeps_of
from kubesweep_controller.status.observation import Facts

__all__ = ["heal_wish", "needs_check", "needs_heal"]


def needs_heal(facts: Facts) -> bool:
    """True where the latest sweep is Lost and the schedule may sweep."""
    return heal_wish(facts) is not None


def heal_wish(facts: Facts) -> SweepRequest | None:
    """The sweep to open in place of the lost one, if there is one."""
    lost = _lost(facts)
    if lost is None or facts.plan is None or suspended(facts):
        return None
    plan = facts.plan
    return SweepRequest(
        tick=facts.now, plan=plan.version, mode=plan.mode, retention=plan.retention, dedup_key=f"heal/{lost.id}"
    )


def _lost(facts: Facts) -> Sweep | None:
    if facts.stats is None:
        return None
    latest = next(iter(sweeps_of(facts)), None)
    return latest if latest is not None and latest.state is SweepState.LOST else None


def needs_check(facts: Facts) -> bool:
    """True where a worker complained about this plan: it should look again, for nobody tells it when the cause is gone."""
    if facts.stats is None or facts.plan is None or suspended(facts):
        return False
    found = (complaint(facts, kind) for kind in ("SourceReady", "Effect"))
    return any(finding is not None and not finding.ok for finding in found)
