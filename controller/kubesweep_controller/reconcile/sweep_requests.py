"""The sweeps that a reconcile opens by itself: to recover a lost sweep, for an edited plan, and for a tick of ``every``. Pure.

Sweeps for commands are opened in :mod:`.execute_commands`, those for cron ticks by the CronJob's pod.
"""

from __future__ import annotations

from kubesweep.queue.model import SweepRequest
from kubesweep_controller.reconcile.interval_ticks import due_tick, tick_request
from kubesweep_controller.reconcile.recovery import recovery_request
from kubesweep_controller.status.observation import Observation, suspended

__all__ = ["due_requests"]


def due_requests(observation: Observation) -> list[SweepRequest]:
    """The sweeps to open now."""
    requests = []
    if (recovery := recovery_request(observation)) is not None:
        requests.append(recovery)
    if (newer := _superseding_request(observation)) is not None:
        requests.append(newer)
    if (tick := due_tick(observation)) is not None:
        requests.append(tick_request(observation, tick))
    return requests


def _superseding_request(observation: Observation) -> SweepRequest | None:
    """An edit while a sweep runs invalidates what that sweep planned. The new plan gets its sweep now, not at the next tick."""
    plan, sweep = observation.plan, observation.stats.sweep if observation.stats else None
    if plan is None or sweep is None or sweep.state.settled or suspended(observation):
        return None
    if not plan.version.newer_than(sweep.plan):
        return None
    key = f"plan/{plan.version.hash}/{sweep.id}"
    return SweepRequest(
        tick=observation.now, plan=plan.version, mode=plan.mode, retention=plan.retention, dedup_key=key
    )
