"""``spec.every``: ticks from the controller's clock, at multiples of the period since the epoch. And when to look again.

The queue's last tick, which only moves forward, is the fence: two controllers that both think they lead open one sweep. Of
all ticks since the last one only the latest is opened, so a pause is never made up for in a burst; whether it is too late is
for the queue to say. Cron is not decided here: its CronJob does that, the times computed here only say when to look.
"""

from __future__ import annotations

from kubesweep.queue.model import SweepRequest, SweepState
from kubesweep_controller.status.active_schedule import active_since
from kubesweep_controller.status.build_status import COUNT_INTERVAL
from kubesweep_controller.status.conditions.reasons import ConditionType
from kubesweep_controller.status.conditions.result import find_condition
from kubesweep_controller.status.formatting import parse_time
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.missed_ticks import grace, last_tick
from kubesweep_controller.status.observation import Observation, suspended

__all__ = ["due_tick", "next_reconcile", "tick_request"]

BUSY = 2.0  # seconds from look to look while something moves
IDLE = 60.0
AFTER_TICK = 1.0  # a CronJob's pod needs at least this long


def due_tick(observation: Observation) -> float | None:
    """The tick of ``every`` to open now: the latest that nobody opened since the schedule was created, edited or resumed."""
    schedule = observation.schedule
    if schedule is None or schedule.spec.every is None or observation.plan is None or observation.stats is None:
        return None
    if suspended(observation):
        return None
    tick, since = schedule.spec.ticks.latest(observation.now), active_since(observation)
    if tick is None or since is None or tick <= since:
        return None
    last = last_tick(observation)
    return tick if last is None or tick > last else None


def tick_request(observation: Observation, tick: float) -> SweepRequest:
    """What to open for a due tick."""
    assert observation.plan is not None, "due_tick answers only for a spec that is served"
    assert observation.schedule is not None
    deadline = observation.schedule.spec.starting_deadline_seconds
    plan = observation.plan
    return SweepRequest(
        tick=tick,
        plan=plan.version,
        mode=plan.mode,
        retention=plan.retention,
        deadline=None if deadline is None else float(deadline),
    )


def next_reconcile(observation: Observation) -> float:
    """Seconds until something may have changed that nobody tells: the queue sends no news, and ticks come by the clock."""
    soonest = observation.now + (BUSY if _moving(observation) else IDLE)
    if observation.schedule is not None and not suspended(observation):
        ticks = observation.schedule.spec.ticks
        every = observation.schedule.spec.every is not None
        upcoming = ticks.next(observation.now) if every else ticks.next(observation.now - AFTER_TICK)
        if upcoming is not None:
            soonest = min(soonest, upcoming if every else upcoming + AFTER_TICK)
        late = None if every else ticks.next(observation.now - grace(observation))
        if late is not None:
            soonest = min(soonest, late + grace(observation))
    return max(0.0, soonest - observation.now)


def _moving(observation: Observation) -> bool:
    """Whether work is under way, or the status lags behind it."""
    if observation.stats is None:
        return True
    if observation.stats.ready or observation.stats.running or observation.stats.delayed:
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
