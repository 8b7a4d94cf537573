"""``spec.every``: ticks from the controller's clock, at multiples of the period since the epoch. And when to look again.

The queue's last tick, which only moves forward, is the fence: two controllers that both think they lead open one sweep. Of
all ticks since the last one only the latest is opened, so a pause is never made up for in a burst; whether it is too late is
for the queue to say. Cron is not decided here: its CronJob does that, the times computed here only say when to look.
"""

from __future__ import annotations

from kubesweep.queue.model import SweepRequest, SweepState
from kubesweep_controller.status.active_schedule import active_since
from kubesweep_controller.status.build import COUNT_INTERVAL
from kubesweep_controller.status.conditions import find, suspended
from kubesweep_controller.status.formatting import parse_time
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.missed_ticks import grace, last_tick
from kubesweep_controller.status.observation import Facts
from kubesweep_controller.status.reasons import ConditionType

__all__ = ["due_tick", "next_look", "tick_wish"]

BUSY = 2.0  # seconds from look to look while something moves
IDLE = 60.0
AFTER_TICK = 1.0  # a CronJob's pod needs at least this long


def due_tick(facts: Facts) -> float | None:
    """The tick of ``every`` to open now: the latest that nobody opened since the schedule was created, edited or resumed."""
    schedule = facts.schedule
    if schedule is None or schedule.spec.every is None or facts.plan is None or facts.stats is None:
        return None
    if suspended(facts):
        return None
    tick, since = schedule.spec.ticks.latest(facts.now), active_since(facts)
    if tick is None or since is None or tick <= since:
        return None
    last = last_tick(facts)
    return tick if last is None or tick > last else None


def tick_wish(facts: Facts, tick: float) -> SweepRequest:
    """What to open for a due tick."""
    assert facts.plan is not None, "due_tick answers only for a spec that is served"
    assert facts.schedule is not None
    deadline = facts.schedule.spec.starting_deadline_seconds
    plan = facts.plan
    return SweepRequest(
        tick=tick,
        plan=plan.version,
        mode=plan.mode,
        retention=plan.retention,
        deadline=None if deadline is None else float(deadline),
    )


def next_look(facts: Facts) -> float:
    """Seconds until something may have changed that nobody tells: the queue sends no news, and ticks come by the clock."""
    soonest = facts.now + (BUSY if _moving(facts) else IDLE)
    if facts.schedule is not None and not suspended(facts):
        ticks = facts.schedule.spec.ticks
        every = facts.schedule.spec.every is not None
        upcoming = ticks.next(facts.now) if every else ticks.next(facts.now - AFTER_TICK)
        if upcoming is not None:
            soonest = min(soonest, upcoming if every else upcoming + AFTER_TICK)
        late = None if every else ticks.next(facts.now - grace(facts))
        if late is not None:
            soonest = min(soonest, late + grace(facts))
    return max(0.0, soonest - facts.now)


def _moving(facts: Facts) -> bool:
    """Whether work is under way, or the status lags behind it."""
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
