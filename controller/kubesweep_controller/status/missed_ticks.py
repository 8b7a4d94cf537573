"""Ticks that never became a sweep. A CronJob does not report the ticks that it missed, so they are computed here. Pure.

A tick counts as missed only after it had time to arrive, and only if it was due after two moments: the one since which
the schedule fires as it does, and the last change of the CronJob. :mod:`kubesweep.scheduling` has the rule.
"""

from __future__ import annotations

from kubesweep import scheduling
from kubesweep.queue.model import TickCounts
from kubesweep_controller.status.active_schedule import active_since
from kubesweep_controller.status.formatting import parse_time
from kubesweep_controller.status.history import previous, sweeps_of
from kubesweep_controller.status.observation import Observation

__all__ = ["arrival_limit", "counts_of", "last_tick", "missed", "missed_ever", "previous_tick"]


def arrival_limit(observation: Observation) -> float:
    """Seconds that a tick may take from its nominal time to the queue before it counts as missed."""
    deadline = observation.schedule.spec.starting_deadline_seconds if observation.schedule is not None else None
    return scheduling.arrival_limit(None if deadline is None else float(deadline))


def last_tick(observation: Observation) -> float | None:
    """The latest known tick. The queue may have lost it, and the status may be older than the queue."""
    known = [parse_time(previous(observation).get("lastScheduleTime"))]
    if observation.stats is not None:
        known.append(observation.stats.last_tick)
    return max((each for each in known if each is not None), default=None)


def previous_tick(observation: Observation) -> float | None:
    """The tick before the latest one, whether or not it started a sweep; None before the second one since the schedule is active."""
    active = active_since(observation)
    if observation.schedule is None or active is None:
        return None
    ticks = observation.schedule.spec.ticks
    latest = ticks.latest(observation.now)
    before = None if latest is None else ticks.latest(latest - 0.001)
    return before if before is not None and before > active else None


def missed(observation: Observation) -> float | None:
    """The latest tick of the CronJob that is missing now; None for ``every``, whose ticks the queue itself counts."""
    schedule, children = observation.schedule, observation.children
    if schedule is None or schedule.spec.schedule is None or schedule.spec.suspend:
        return None
    active = active_since(observation)
    if observation.stats is None or children.cron_since is None or active is None:
        return None
    return scheduling.missed(
        schedule.spec.ticks,
        now=observation.now,
        limit=arrival_limit(observation),
        since=max(active, children.cron_since),  # the CronJob in the cache may be older than the latest edit
        last=last_tick(observation),
        fired=children.cron_last,
    )


def missed_ever(observation: Observation) -> float | None:
    """The latest missed tick for ``status.lastMissedTime``: missing now, refused as late, or known from the last status."""
    known = [parse_time(previous(observation).get("lastMissedTime")), missed(observation), _late(observation)]
    return max((each for each in known if each is not None), default=None)


def _late(observation: Observation) -> float | None:
    """The tick that the queue has refused as late since the last status."""
    before = previous(observation).get("ticks")
    if observation.stats is None or observation.stats.last_tick is None or not before:
        return None
    if observation.stats.ticks.late <= int(before.get("late", 0)):
        return None
    last = observation.stats.last_tick
    if all(sweep.tick != last for sweep in sweeps_of(observation)) or observation.schedule is None:
        return last
    return observation.schedule.spec.ticks.latest(last - 0.001)  # a later tick became a sweep


def counts_of(ticks: TickCounts) -> dict[str, int]:
    """Ticks by the queue's answer, as ``status.ticks`` has them."""
    return {name: getattr(ticks, name) for name in ("enqueued", "duplicate", "forbidden", "late")}
