"""The jobs that this worker holds, seen by two threads: the event loop that works on them and the heartbeat.

Invariants: a claim is in hand from the moment the queue gave it until the queue took its settlement or took it back;
``lost`` is only ever set, never cleared.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from kubesweep.errors import LeaseLost
from kubesweep.queue.model import Claim


class JobRun:
    """One claim in hand. ``claim.job`` is always what is left of it, as the queue knows it."""

    __slots__ = (
        "_monotonic",
        "alone",
        "begun",
        "claim",
        "draining",
        "finished",
        "gentle",
        "lost",
        "task",
        "touched",
        "unpaced",
    )

    def __init__(self, claim: Claim, monotonic: Callable[[], float], *, alone: bool = False) -> None:
        self.claim = claim
        self.alone = alone
        self.task: asyncio.Task[object] | None = None
        self.finished = False  # nothing runs any more, only the settlement is on its way
        self.begun = False  # the queue knows that this worker began it alone
        self.draining = False
        self.lost = False
        self.unpaced = 0  # rows that still need a turn, where there is a rate
        self.gentle = False  # effects are in flight, or their write: a stop lets it end
        self._monotonic = monotonic
        self.touched = monotonic()

    def touch(self) -> None:
        """There was progress: the deadline starts anew."""
        self.touched = self._monotonic()

    def checkpoint(self) -> None:
        """Raises LeaseLost where somebody else owns the job by now."""
        if self.lost:
            raise LeaseLost(f"job {self.claim.id} is not ours any more")
        self.touch()

    @property
    def name(self) -> str:
        job = self.claim.job
        return f"{job.kind} {self.claim.id} (sweep {job.sweep or '-'}, {job.rows} rows, delivery {self.claim.delivery})"


class Hands:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, JobRun] = {}

    def take(self, run: JobRun) -> None:
        with self._lock:
            self._runs[run.claim.id] = run

    def drop(self, claim_id: str) -> None:
        with self._lock:
            self._runs.pop(claim_id, None)

    def all(self) -> tuple[JobRun, ...]:
        with self._lock:
            return tuple(self._runs.values())

    def running(self) -> tuple[JobRun, ...]:
        return tuple(run for run in self.all() if not run.finished)

    def lose(self, claim_id: str) -> None:
        with self._lock:
            run = self._runs.get(claim_id)
        if run is not None:
            run.lost = True
