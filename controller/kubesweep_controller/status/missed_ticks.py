"""Ticks that never became a sweep. A CronJob says nothing about what it missed, so it is computed here. Pure.

No alarm without a reason: the CronJob decides ticks, this module only compares. Where the cluster fired at a time that is
no tick by our reading of the expression, the two readings differ and nothing is said at all. A tick counts as missed only
after it had time to arrive, and only if it was due after the schedule was created, edited or resumed and its CronJob got the
shape that it has now.
"""

from __future__ import annotations

from kubesweep.queue.model import TickCounts
from kubesweep_controller.status.active_schedule import active_since
from kubesweep_controller.status.formatting import parse_time
from kubesweep_controller.status.history import previous, sweeps_of
from kubesweep_controller.status.observation import Observation

__all__ = ["grace", "last_tick", "missed", "missed_ever"]

PATIENCE = 120.0  # for a pod to be scheduled, its image pulled, a Job tried again
LEAST_PATIENCE = 60.0


def grace(observation: Observation) -> float:
    """Seconds that a tick may take from its nominal time to the queue before it is called missed."""
    deadline = observation.schedule.spec.starting_deadline_seconds if observation.schedule is not None else None
    return PATIENCE if deadline is None else max(LEAST_PATIENCE, float(deadline))


def last_tick(observation: Observation) -> float | None:
    """The latest tick that anybody remembers: the queue may have lost it, the status may lag behind."""
    known = [parse_time(previous(observation).get("lastScheduleTime"))]
    if observation.stats is not None:
        known.append(observation.stats.last_tick)
    return max((each for each in known if each is not None), default=None)


def missed(observation: Observation) -> float | None:
    """The latest tick of the CronJob that is missing now; None for ``every``, whose ticks the queue itself counts."""
    schedule, children = observation.schedule, observation.children
    if schedule is None or schedule.spec.schedule is None or schedule.spec.suspend:
        return None
    active = active_since(observation)
    if observation.stats is None or children.cron_since is None or active is None:
        return None
    # The CronJob may be the one of before an edit that was only now applied.
    since = max(active, children.cron_since)
    ticks = schedule.spec.ticks
    tick = ticks.latest(observation.now - grace(observation))
    last = last_tick(observation)
    if tick is None or tick <= since or (last is not None and tick <= last):
        return None
    fired = children.cron_last
    if fired is not None and fired > since and ticks.latest(fired) != fired:
        return None
    return tick


def missed_ever(observation: Observation) -> float | None:
    """The latest missed tick as status.lastMissedTime has it: missing now, refused as late, or known before."""
    known = [parse_time(previous(observation).get("lastMissedTime")), missed(observation), _late(observation)]
    return max((each for each in known if each is not None), default=None)


def _late(observation: Observation) -> float | None:
    """The tick that the queue has refused as late since the status was written."""
    before = previous(observation).get("ticks")
    if observation.stats is None or observation.stats.last_tick is None or not before:
        return None
    if observation.stats.ticks.late <= int(before.get("late", 0)):
        return None
    last = observation.stats.last_tick
    if all(sweep.tick != last for sweep in sweeps_of(observation)) or observation.schedule is None:
        return last
    return observation.schedule.spec.ticks.latest(last - 0.001)  # a later one came through


def counts_of(ticks: TickCounts) -> dict[str, int]:
    """Ticks by the queue's answer, as status.ticks has them."""
    return {name: getattr(ticks, name) for name in ("enqueued", "duplicate", "forbidden", "late")}
