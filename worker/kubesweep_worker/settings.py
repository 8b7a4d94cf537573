"""Settings of a worker that are not part of its plan. Clock, randomness and sleep are parameters, so that a unit test can
cover ten minutes of outage."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kubesweep import grace_period

EXIT_DEADLINE = 70  # a job hung: the process ends, and the queue delivers the job to another worker
EXIT_LEAKED = 75  # too many handler threads leaked: the worker drained and has to be restarted


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """All durations are seconds.

    ``lease``: how long the queue keeps a job for a worker without a heartbeat. ``deadline``: how long a job may run without
    progress before the process ends. ``patience``: how long a draining worker waits for a queue that is unavailable. ``closing``:
    how long it may take to close effect, source and queue together. ``restoring``: how long a sweep waits until the controller has
    restored what a queue lost.
    """

    concurrency: int = 2  # jobs at once
    lease: float = 30.0
    deadline: float = 300.0
    sub_batch: int = 50  # rows whose effects run before their write: the most that a crash repeats
    backoff: float = 0.5  # first pause after an outage of database, receiver or queue
    max_backoff: float = 30.0
    old_plan_pause: float = 30.0  # how long a worker claims nothing after it met a job of a newer plan
    idle_wait: float = 30.0  # longest single wait for a job
    patience: float = grace_period.SETTLE
    closing: float = grace_period.CLOSE
    restoring: float = 120.0
    grace: float = 1.0  # how long stop(now=True) may take, and how long a drain waits for a statement that writes
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    exit_process: Callable[[int], None] = os._exit

    @property
    def heartbeat(self) -> float:
        return self.lease / 3
