"""How a worker behaves, apart from what it works on. Clocks, chance and sleep are given from outside, so that ten
minutes of outage are a unit test."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kubesweep import grace_period

EXIT_DEADLINE = 70  # a job hung: the process leaves, the queue hands the job to another one
EXIT_LEAKED = 75  # too many handler threads never came back: drained, wants to be started anew


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """All durations are seconds.

    ``lease`` is how long the queue waits for a sign of life; ``deadline`` how long a job may go without any progress
    before the whole process is given up; ``patience`` how long a draining worker tries to tell a queue that is away;
    ``closing`` how long it takes its leave of effect, source and queue, all together.
    """

    concurrency: int = 2  # jobs at once
    lease: float = 30.0
    deadline: float = 300.0
    sub_batch: int = 50  # rows whose effects run before their write: what a crash repeats at most
    backoff: float = 0.5  # first pause after an outage of database, receiver or queue
    max_backoff: float = 30.0
    old_plan_pause: float = 30.0  # how long a worker keeps still after it met a job of a newer plan
    idle_wait: float = 30.0  # longest single wait for the queue
    patience: float = grace_period.SETTLE
    closing: float = grace_period.CLOSE
    grace: float = 1.0  # what stop(now=True) may take; what a stop waits for a statement that writes
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    die: Callable[[int], None] = os._exit

    @property
    def heartbeat(self) -> float:
        return self.lease / 3
