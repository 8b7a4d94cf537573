"""The statistics of one schedule, and the findings that workers report about its source."""

from __future__ import annotations

import math

import msgspec

from kubesweep.queue.model.baseline import Baseline
from kubesweep.queue.model.health import Signal, Throttle
from kubesweep.queue.model.identity import PlanVersion
from kubesweep.queue.model.pace import Pace
from kubesweep.queue.model.pauses import Pause
from kubesweep.queue.model.sweeps import Sweep

THROTTLE = "Throttle"  # the kind of a finding
THROTTLE_AGE = 30.0  # seconds after which such a finding is of a worker that has ended


class TickCounts(msgspec.Struct, frozen=True):
    """Ticks by the answer of ``open_sweep``."""

    enqueued: int = 0
    duplicate: int = 0
    forbidden: int = 0
    late: int = 0


class Finding(msgspec.Struct, frozen=True):
    """What a worker found out about the database or the receiver. The latest of each ``kind`` is kept."""

    kind: str  # "SourceReady", "Effect", ... (at most MAX_FINDINGS kinds)
    ok: bool
    reason: str
    message: str
    plan: PlanVersion
    at: float = 0.0
    throttle: Throttle | None = None  # of the kind THROTTLE
    signals: tuple[Signal, ...] = ()  # of the kind THROTTLE; an older worker reports none


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of one schedule. For an unknown schedule ``known`` is False and all counts are zero."""

    known: bool = False
    ready: int = 0  # jobs that a claim may take now, including due retries
    running: int = 0  # claimed jobs, until their lease expired and another claim took them
    # Retries that are not due yet or blocked, and a plan job that waits for the jobs of ended sweeps.
    delayed: int = 0
    # A sweep awaits approval, so no retry is claimed until it is approved, or until a later sweep needs no approval.
    retries_blocked: bool = False
    excluded: int = 0  # rows in retry or dead, which no sweep plans
    dead: int = 0  # rows
    checks: int = 0  # of the ready jobs: those that check the source
    oldest_ready: float | None = None  # when the longest waiting ready job became ready
    first_lease: float | None = None  # when the first lease ends, unless its owner extends it before
    paused: bool = False
    pauses: tuple[Pause, ...] = ()  # the latest, oldest first; at most MAX_PAUSES
    pace: Pace | None = None  # None: it was never set
    # The pace was set after the schedule's keys were made. False beside a pace: the queue lost the keys and kept the pace.
    paced: bool = False
    last_tick: float | None = None
    ticks: TickCounts = TickCounts()
    sweep: Sweep | None = None  # the latest
    history: tuple[Sweep, ...] = ()  # newest first, without the latest; at most HISTORY
    findings: tuple[Finding, ...] = ()
    origin: str = ""  # of the rows that were planned last, see ``Job.origin``
    baseline: Baseline | None = None  # of the sweep that planned them
    damage: str = ""  # why nothing of the schedule can be read, see ``stats_of_each``

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """The latest and those before it, newest first."""
        return self.history if self.sweep is None else (self.sweep, *self.history)

    @property
    def paused_since(self) -> float | None:
        """When the pause that lasts began; None: there is none, or an older version began it."""
        last = self.pauses[-1] if self.paused and self.pauses else None
        return None if last is None or last.end is not None else last.start

    @property
    def resumed(self) -> float | None:
        """When the latest pause ended."""
        return max((each.end for each in self.pauses if each.end is not None), default=None)

    def unpaused_seconds(self, since: float, until: float) -> float:
        """Of the time between these two moments, that in which jobs could be claimed."""
        last = math.inf if self.paused else None  # without it, an open pause was ended by an older version
        ends = ((each.start, last if each.end is None else each.end) for each in self.pauses)
        lost = sum(max(0.0, min(end, until) - max(start, since)) for start, end in ends if end is not None)
        return max(0.0, until - since - lost)

    @property
    def queued(self) -> int:
        """Ready jobs that have rows. A check has none, and stays in the queue until the source is in order."""
        return max(0, self.ready - self.checks)

    @property
    def retries_pending(self) -> int:
        """Delayed jobs that become due by themselves."""
        return 0 if self.retries_blocked else self.delayed

    def throttled(self, now: float) -> Finding | None:
        """Why workers are slower than their pace, or unable to tell; None: they are not, or have nothing to do."""
        found = self.measured(now)
        return None if found is None or found.ok else found

    def measured(self, now: float) -> Finding | None:
        """What workers reported last about the health of the database; None: nothing lately, or they have nothing to do."""
        found = next((each for each in self.findings if each.kind == THROTTLE), None)
        idle = (self.sweep is None or self.sweep.state.settled) and not self.running + self.ready + self.delayed
        if found is None or idle or now - found.at > THROTTLE_AGE:
            return None
        return None if self.sweep is not None and found.at < self.sweep.started else found  # of the sweep before
