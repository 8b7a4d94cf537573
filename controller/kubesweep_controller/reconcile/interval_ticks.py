"""Ticks of ``spec.every``, which the controller opens itself, and when to reconcile a schedule again.

Ticks are at multiples of the period since the epoch, by the controller's clock. The queue's last tick only moves forward,
so two controllers that both believe to be the leader open one sweep. A CronJob opens the ticks of ``spec.schedule``: the
times of cron that are computed here only say when to reconcile. :mod:`kubesweep.scheduling` has the rules.
"""

from __future__ import annotations

from kubesweep import scheduling
from kubesweep.queue.model import SweepRequest, SweepState
from kubesweep_controller.status.active_schedule import active_since
from kubesweep_controller.status.build_status import COUNT_INTERVAL
from kubesweep_controller.status.conditions.reasons import ConditionType
from kubesweep_controller.status.conditions.result import find_condition
from kubesweep_controller.status.formatting import parse_time
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.missed_ticks import arrival_limit, last_tick
from kubesweep_controller.status.observation import Observation, suspended

__all__ = ["due_tick", "next_reconcile", "tick_request"]

BUSY = 2.0  # seconds between two reconciliations while work is under way
IDLE = 60.0
AFTER_TICK = 1.0  # seconds that a CronJob's pod needs at least


def due_tick(observation: Observation) -> float | None:
    """The tick of ``spec.every`` to open now, in seconds since the epoch."""
    schedule = observation.schedule
    if schedule is None or schedule.spec.every is None or observation.plan is None or observation.stats is None:
        return None
    since = active_since(observation)
    if since is None:
        return None
    return scheduling.due(schedule.spec.ticks, now=observation.now, since=since, last=last_tick(observation))


def tick_request(observation: Observation, tick: float) -> SweepRequest:
    """The sweep to open for a due tick."""
    assert observation.plan is not None, "due_tick answers only for a valid spec"
    assert observation.schedule is not None
    deadline = observation.schedule.spec.starting_deadline_seconds
    return scheduling.sweep_request(observation.plan, tick, deadline=None if deadline is None else float(deadline))


def next_reconcile(observation: Observation) -> float:
    """Seconds until the next reconciliation. The queue sends no notifications, and ticks depend on the clock alone."""
    soonest = observation.now + (BUSY if _moving(observation) else _until_arrival(observation))
    if observation.schedule is not None and not suspended(observation):
        ticks = observation.schedule.spec.ticks
        every = observation.schedule.spec.every is not None
        upcoming = ticks.next(observation.now) if every else ticks.next(observation.now - AFTER_TICK)
        if upcoming is not None:
            soonest = min(soonest, upcoming if every else upcoming + AFTER_TICK)
        overdue = None if every else ticks.next(observation.now - arrival_limit(observation))
        if overdue is not None:
            soonest = min(soonest, overdue + arrival_limit(observation))
    return max(0.0, soonest - observation.now)


def _moving(observation: Observation) -> bool:
    """True while work is under way, or while the status may be older than the queue's numbers."""
    if observation.stats is None:
        return True
    if observation.stats.ready or observation.stats.running or observation.stats.retries_pending:
        return True
    sweep = observation.stats.sweep
    if sweep is not None and sweep.state in (SweepState.PLANNING, SweepState.RUNNING):
        return True
    status = previous(observation)
    source = find_condition(status, ConditionType.SOURCE_READY)
    counted = parse_time(status.get("countedTime"))
    fresh = counted is not None and observation.now - counted < 2 * COUNT_INTERVAL
    return fresh or (
        observation.plan is not None and not suspended(observation) and (source or {}).get("status") == "Unknown"
    )


def _until_arrival(observation: Observation) -> float:
    """Seconds until the next question whether a tick of cron has arrived, with fewer questions the longer its pod takes to start.

    Nothing reports that the pod has opened the sweep: a worker may run already, so that no Deployment changes.
    """
    schedule, since = observation.schedule, active_since(observation)
    if schedule is None or schedule.spec.schedule is None or since is None or suspended(observation):
        return IDLE
    tick = scheduling.due(schedule.spec.ticks, now=observation.now, since=since, last=last_tick(observation))
    if tick is None or observation.now - tick >= min(arrival_limit(observation), scheduling.arrival_limit(None)):
        return IDLE
    return max(BUSY, (observation.now - tick) / 4)
