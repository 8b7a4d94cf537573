"""The statistics of one schedule, and the findings that workers report about its source."""

from __future__ import annotations

import msgspec

from kubesweep.queue.model.health import Throttle
from kubesweep.queue.model.identity import PlanVersion
from kubesweep.queue.model.pace import Pace
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


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of one schedule. For an unknown schedule ``known`` is False and all counts are zero."""

    known: bool = False
    ready: int = 0  # jobs that a claim may take now, including due retries
    running: int = 0  # claimed jobs, until their lease expired and another claim took them
    delayed: int = 0  # retries that are not due yet, and a plan job that waits for the jobs of ended sweeps
    excluded: int = 0  # rows in retry or dead, which no sweep plans
    dead: int = 0  # rows
    checks: int = 0  # of the ready jobs: those that check the source
    oldest_ready: float | None = None  # when the longest waiting ready job became ready
    first_lease: float | None = None  # when the first lease ends, unless its owner extends it before
    paused: bool = False
    pace: Pace | None = None  # None: it was never set
    last_tick: float | None = None
    ticks: TickCounts = TickCounts()
    sweep: Sweep | None = None  # the latest
    history: tuple[Sweep, ...] = ()  # newest first, without the latest; at most HISTORY
    findings: tuple[Finding, ...] = ()
    origin: str = ""  # of the rows that were planned last, see ``Job.origin``

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """The latest and those before it, newest first."""
        return self.history if self.sweep is None else (self.sweep, *self.history)

    @property
    def queued(self) -> int:
        """Ready jobs that have rows. A check has none, and stays in the queue until the source is in order."""
        return max(0, self.ready - self.checks)

    def throttled(self, now: float) -> Finding | None:
        """Why workers are slower than their pace, or unable to tell; None: they are not, or have nothing to do."""
        found = next((each for each in self.findings if each.kind == THROTTLE), None)
        idle = (self.sweep is None or self.sweep.state.settled) and not self.running + self.ready + self.delayed
        if found is None or found.ok or idle or now - found.at > THROTTLE_AGE:
            return None
        return None if self.sweep is not None and found.at < self.sweep.started else found  # of the sweep before
