"""Ticks of ``spec.every``, which the controller opens itself, and when to reconcile a schedule again.

Ticks are at multiples of the period since the epoch, by the controller's clock. The queue's last tick only moves forward,
so two controllers that both believe to be the leader open one sweep. A CronJob opens the ticks of ``spec.schedule``: the
times of cron that are computed here only say when to reconcile. :mod:`kubesweep.scheduling` has the rules.
"""

from __future__ import annotations

from kubesweep import scheduling
from kubesweep.queue.model import SweepRequest, SweepState
from kubesweep_controller.status.active_schedule import active_since
from kubesweep_controller.status.build import COUNT_INTERVAL
from kubesweep_controller.status.conditions import find, suspended
from kubesweep_controller.status.formatting import parse_time
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.missed_ticks import arrival_limit, last_tick
from kubesweep_controller.status.observation import Facts
from kubesweep_controller.status.reasons import ConditionType

__all__ = ["due_tick", "seconds_to_next", "tick_request"]

BUSY = 2.0  # seconds between two reconciliations while work is under way
IDLE = 60.0
AFTER_TICK = 1.0  # seconds that a CronJob's pod needs at least


def due_tick(facts: Facts) -> float | None:
    """The tick of ``spec.every`` to open now, in seconds since the epoch."""
    schedule = facts.schedule
    if schedule is None or schedule.spec.every is None or facts.plan is None or facts.stats is None:
        return None
    since = active_since(facts)
    if suspended(facts) or since is None:
        return None
    return scheduling.due(schedule.spec.ticks, now=facts.now, since=since, last=last_tick(facts))


def tick_request(facts: Facts, tick: float) -> SweepRequest:
    """The sweep to open for a due tick."""
    assert facts.plan is not None, "due_tick answers only for a valid spec"
    assert facts.schedule is not None
    deadline = facts.schedule.spec.starting_deadline_seconds
    return scheduling.sweep_request(facts.plan, tick, deadline=None if deadline is None else float(deadline))


def seconds_to_next(facts: Facts) -> float:
    """Seconds until the next reconciliation. The queue sends no notifications, and ticks depend on the clock alone."""
    soonest = facts.now + (BUSY if _moving(facts) else IDLE)
    if facts.schedule is not None and not suspended(facts):
        ticks = facts.schedule.spec.ticks
        every = facts.schedule.spec.every is not None
        upcoming = ticks.next(facts.now) if every else ticks.next(facts.now - AFTER_TICK)
        if upcoming is not None:
            soonest = min(soonest, upcoming if every else upcoming + AFTER_TICK)
        overdue = None if every else ticks.next(facts.now - arrival_limit(facts))
        if overdue is not None:
            soonest = min(soonest, overdue + arrival_limit(facts))
    return max(0.0, soonest - facts.now)


def _moving(facts: Facts) -> bool:
    """True while work is under way, or while the status may be older than the queue's numbers."""
    if facts.stats is None:
        return True
    if facts.stats.ready or facts.stats.running or facts.stats.delayed:
        return True
    sweep = facts.stats.sweep
    if sweep is not None and sweep.state in (SweepState.PLANNING, SweepState.RUNNING):
        return True
    status = previous(facts)
    source = find(status, ConditionType.SOURCE_READY)
    counted = parse_time(status.get("countedTime"))
    fresh = counted is not None and facts.now - counted < 2 * COUNT_INTERVAL
    return fresh or (facts.plan is not None and not suspended(facts) and (source or {}).get("status") == "Unknown")
