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
from kubesweep_controller.status.observation import Facts

__all__ = ["arrival_limit", "counts_of", "last_tick", "missed", "missed_ever"]


def arrival_limit(facts: Facts) -> float:
    """Seconds that a tick may take from its nominal time to the queue before it counts as missed."""
    deadline = facts.schedule.spec.starting_deadline_seconds if facts.schedule is not None else None
    return scheduling.arrival_limit(None if deadline is None else float(deadline))


def last_tick(facts: Facts) -> float | None:
    """The latest known tick. The queue may have lost it, and the status may be older than the queue."""
    known = [parse_time(previous(facts).get("lastScheduleTime"))]
    if facts.stats is not None:
        known.append(facts.stats.last_tick)
    return max((each for each in known if each is not None), default=None)


def missed(facts: Facts) -> float | None:
    """The latest tick of the CronJob that is missing now; None for ``every``, whose ticks the queue itself counts."""
    schedule, children = facts.schedule, facts.children
    if schedule is None or schedule.spec.schedule is None or schedule.spec.suspend:
        return None
    active = active_since(facts)
    if facts.stats is None or children.cron_since is None or active is None:
        return None
    return scheduling.missed(
        schedule.spec.ticks,
        now=facts.now,
        limit=arrival_limit(facts),
        since=max(active, children.cron_since),  # the CronJob in the cache may be older than the latest edit
        last=last_tick(facts),
        fired=children.cron_last,
    )


def missed_ever(facts: Facts) -> float | None:
    """The latest missed tick for ``status.lastMissedTime``: missing now, refused as late, or known from the last status."""
    known = [parse_time(previous(facts).get("lastMissedTime")), missed(facts), _late(facts)]
    return max((each for each in known if each is not None), default=None)


def _late(facts: Facts) -> float | None:
    """The tick that the queue has refused as late since the last status."""
    before = previous(facts).get("ticks")
    if facts.stats is None or facts.stats.last_tick is None or not before:
        return None
    if facts.stats.ticks.late <= int(before.get("late", 0)):
        return None
    last = facts.stats.last_tick
    if all(sweep.tick != last for sweep in sweeps_of(facts)) or facts.schedule is None:
        return last
    return facts.schedule.spec.ticks.latest(last - 0.001)  # a later tick became a sweep


def counts_of(ticks: TickCounts) -> dict[str, int]:
    """Ticks by the queue's answer, as ``status.ticks`` has them."""
    return {name: getattr(ticks, name) for name in ("enqueued", "duplicate", "forbidden", "late")}
