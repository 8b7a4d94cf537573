"""The jobs that this worker has claimed. Two threads share them: the event loop, which runs them, and the heartbeat.

Invariants: a claim is in flight from the moment the queue returns it until the queue has accepted its settlement or its
release. ``lost`` is set once and never cleared.

``lost`` means: this worker must neither settle nor release the claim. It is set in two cases:

- The queue reports that another worker owns the job, or that its sweep has ended (runtime/heartbeat.py).
- The worker stops before the queue has answered a settlement of a part of the job. The queue may have counted the part
  (jobs/context.py, ``settle_progress``).

A lease that is lost during a write: the heartbeat sets ``lost``, ``checkpoint`` raises LeaseLost before the next statement,
and jobs/dispatch.py drops the job. A statement that runs at that moment commits or fails as usual. The queue rejects the
settlement of a lost claim, so nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from kubesweep.errors import LeaseLost
from kubesweep.queue.model import Claim
from kubesweep_worker.phases import EFFECT, PHASES, READ, THROTTLED


class JobRun:
    """One claimed job. ``claim.job`` is always the unsettled remainder, as the queue stores it."""

    __slots__ = (
        "_monotonic",
        "_seconds",
        "alone",
        "began",
        "calls",
        "claim",
        "crash_recorded",
        "draining",
        "finished",
        "last_progress",
        "lost",
        "phase",
        "since",
        "task",
        "uninterruptible",
        "unscheduled",
        "waiting",
    )

    def __init__(
        self,
        claim: Claim,
        monotonic: Callable[[], float],
        alone: bool = False,
        seconds: list[float] | None = None,
    ) -> None:
        """``seconds``: those of the worker's jobs by phase, to which this job adds its own."""
        self.claim = claim
        self.alone = alone  # no other job may run in this worker at the same time
        self.task: asyncio.Task[object] | None = None
        self.finished = False  # the task ended, and only its settlement or release is outstanding
        self.crash_recorded = False  # the queue counts a crash of this job unless it is settled or released
        self.draining = False
        self.lost = False
        self.unscheduled = 0  # rows that still need a slot of the rate limiter
        self.uninterruptible = False  # effects or their write are under way: a drain lets them finish
        self.phase, self.calls, self.waiting = READ, 0, 0  # calls of the effect that run, and that wait for the rate
        self._seconds = [0.0] * len(PHASES) if seconds is None else seconds
        self._monotonic = monotonic
        self.began = self.since = self.last_progress = monotonic()

    def touch(self) -> None:
        """Record progress, which restarts the job's deadline."""
        self.last_progress = self._monotonic()

    def checkpoint(self) -> None:
        """Record progress. Raises LeaseLost where the job is ``lost``."""
        if self.lost:
            raise LeaseLost(f"this worker no longer owns job {self.claim.id}")
        self.touch()

    def enter(self, phase: int, now: float | None = None) -> int:
        """Begin a phase (phases.py) now; returns the one that ends."""
        before = self.phase
        if now is None:
            now = self._monotonic()
        self._seconds[before] += now - self.since
        self.phase, self.since = phase, now
        return before

    def call_begins(self) -> None:
        """A call of the effect begins."""
        self.calls += 1

    def call_ends(self) -> None:
        self.calls -= 1
        if self.waiting and not self.calls:
            self.enter(THROTTLED)

    def wait_begins(self) -> None:
        """A call of the effect waits for the rate. The job waits where none of its calls runs."""
        self.waiting += 1
        if not self.calls:
            self.enter(THROTTLED)

    def wait_ends(self) -> None:
        self.waiting -= 1
        if self.phase == THROTTLED:
            self.enter(EFFECT)

    @property
    def name(self) -> str:
        job = self.claim.job
        return f"{job.kind} {self.claim.id} (sweep {job.sweep or '-'}, {job.rows} rows, delivery {self.claim.delivery})"


class InFlightJobs:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, JobRun] = {}

    def add(self, run: JobRun) -> None:
        with self._lock:
            self._runs[run.claim.id] = run

    def remove(self, *claim_ids: str) -> None:
        with self._lock:
            for claim_id in claim_ids:
                self._runs.pop(claim_id, None)

    def all(self) -> tuple[JobRun, ...]:
        with self._lock:
            return tuple(self._runs.values())

    def running(self) -> tuple[JobRun, ...]:
        return tuple(run for run in self.all() if not run.finished)

    def mark_lost(self, claim_id: str) -> None:
        with self._lock:
            run = self._runs.get(claim_id)
        if run is not None:
            run.lost = True

    def touch_running(self) -> None:
        """Restart the deadline of every running job."""
        for run in self.running():
            run.touch()
