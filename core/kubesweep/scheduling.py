"""Which sweep to open, and when: the rules that ``kubesweep run`` and the controller share. Pure.

Callers pass the time and what they remember. Nothing here reads a clock, a queue or an API server. These rules hold:

- Of all ticks since the last one only the latest is due, so a pause never causes a burst of sweeps. The queue decides
  whether that tick is too late (``startingDeadlineSeconds``), because all processes share its clock.
- A tick that passed before the schedule was created, edited or resumed never fires.
- A sweep that no tick asks for (a trigger, a recovery, an edit during a sweep) carries a dedup key. The queue opens one
  sweep for it, however many processes ask and however often.

All times are seconds since the epoch, all durations are seconds.
"""

from __future__ import annotations

from typing import NamedTuple

from kubesweep.api.plan import Plan
from kubesweep.queue.model import Stats, Sweep, SweepRequest
from kubesweep.ticks import Ticks

__all__ = [
    "Activation",
    "activation",
    "arrival_limit",
    "due",
    "edit_request",
    "is_lost",
    "missed",
    "recovery_request",
    "repeat_request",
    "sweep_request",
    "trigger_request",
]

ARRIVAL = 120.0  # seconds for a CronJob's pod: scheduling, pulling the image, a second try of the Job
SHORTEST_ARRIVAL = 60.0
LONGEST_RETENTION = 366 * 86400.0  # of dead letters, where the plan is unknown


class Activation(NamedTuple):
    """What fires now, and since when. ``name`` is :attr:`Ticks.name`."""

    name: str
    since: float


def activation(ticks: Ticks, known: Activation | None, now: float) -> Activation:
    """``known`` while the schedule fires at the same times, else a new activation from ``now`` on.

    Pass None for ``known`` after a suspension: a resumed schedule does not run the ticks of before.
    """
    return known if known is not None and known.name == ticks.name else Activation(ticks.name, now)


def due(ticks: Ticks, *, now: float, since: float, last: float | None = None) -> float | None:
    """The tick to open at ``now``: the latest one after ``since`` and after the ``last`` tick that was opened."""
    tick = ticks.latest(now)
    return tick if tick is not None and tick > since and (last is None or tick > last) else None


def arrival_limit(deadline: float | None) -> float:
    """How long a tick may take from its nominal time to the queue before it counts as missed.

    ``deadline`` is ``startingDeadlineSeconds``.
    """
    return ARRIVAL if deadline is None else max(SHORTEST_ARRIVAL, deadline)


def missed(
    ticks: Ticks, *, now: float, limit: float, since: float, last: float | None, fired: float | None = None
) -> float | None:
    """The latest tick that should have reached the queue within ``limit`` (see :func:`arrival_limit`) and did not.

    ``fired`` is the last time at which the cluster's CronJob fired. If that is no tick by our reading of the expression,
    the two readings differ, and the answer is None: a false alarm is worse than none.
    """
    tick = due(ticks, now=now - limit, since=since, last=last)
    if fired is not None and fired > since and ticks.latest(fired) != fired:
        return None
    return tick


def is_lost(sweep: str, stats: Stats) -> bool:
    """True where the queue no longer has this unfinished sweep, although it answers."""
    return all(known.id != sweep for known in stats.sweeps)


def sweep_request(
    plan: Plan, tick: float | None, *, deadline: float | None = None, dedup_key: str | None = None
) -> SweepRequest:
    """A sweep by ``plan`` for the nominal time ``tick``. None: now, by the queue's clock; that needs a ``dedup_key``."""
    return SweepRequest(
        tick=tick,
        plan=plan.version,
        mode=plan.mode,
        retention=plan.retention,
        deadline=deadline,
        dedup_key=dedup_key,
    )


def trigger_request(plan: Plan, nonce: str, now: float) -> SweepRequest:
    """A sweep that somebody asked for; one for each ``nonce``. It is never late, even if the clocks differ."""
    return sweep_request(plan, now, dedup_key=f"trigger/{nonce}")


def repeat_request(sweep: Sweep, nonce: str, now: float) -> SweepRequest:
    """Like :func:`trigger_request`, by the plan of an earlier sweep, for a caller without the schedule's file.

    Only the file has the retention of dead letters, so this request keeps all that the schedule may keep.
    """
    return SweepRequest(
        tick=now, plan=sweep.plan, mode=sweep.mode, retention=LONGEST_RETENTION, dedup_key=f"trigger/{nonce}"
    )


def recovery_request(plan: Plan, lost: str, now: float) -> SweepRequest:
    """A sweep in place of the one with the id ``lost``. The database still has the stale rows, so nothing is missing."""
    return sweep_request(plan, now, dedup_key=f"recover/{lost}")


def edit_request(plan: Plan, sweep: Sweep | None, now: float) -> SweepRequest | None:
    """A sweep by a newer plan than that of the unfinished ``sweep``, whose jobs are void; None where there is none.

    It starts now, not at the next tick.
    """
    if sweep is None or sweep.state.settled or not plan.version.newer_than(sweep.plan):
        return None
    return sweep_request(plan, now, dedup_key=f"plan/{plan.version.hash}/{sweep.id}")
