"""The sweeps that a reconcile opens by itself: to recover a lost sweep, for an edited plan, and for a tick of ``every``. Pure.

Sweeps for commands are opened in :mod:`.execute_commands`, those for cron ticks by the CronJob's pod.
"""

from __future__ import annotations

from kubesweep import scheduling
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
    if (newer := _edit_request(observation)) is not None:
        requests.append(newer)
    if (tick := due_tick(observation)) is not None:
        requests.append(tick_request(observation, tick))
    return requests


def _edit_request(observation: Observation) -> SweepRequest | None:
    """After an edit during a sweep, what that sweep planned is void, so the new plan gets a sweep now."""
    if observation.plan is None or observation.stats is None or suspended(observation):
        return None
    return scheduling.edit_request(observation.plan, observation.stats.sweep, observation.now)
