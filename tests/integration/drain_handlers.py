"""Effects that run when the process gets SIGTERM: the ``at``-th one sends it, and none ends before it arrived."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import Counter
from typing import ClassVar

from kubesweep_worker import Context, Row


class Round:
    """The effects of one worker, from its start to its end. The file ``expected`` outlives the worker."""

    expected: ClassVar[Counter[int]] = Counter()

    def __init__(self, at: int) -> None:
        self.at, self.begun, self.sent = at, 0, threading.Event()
        self._lock = threading.Lock()

    def begin(self, row: int) -> None:
        with self._lock:
            self.expected[row] += 1
            self.begun += 1
            last = self.begun == self.at
        if last:
            os.kill(os.getpid(), signal.SIGTERM)
            self.sent.set()

    async def wait(self) -> None:
        await asyncio.to_thread(self.sent.wait)


now = Round(0)


async def slow(row: Row, ctx: Context) -> None:
    now.begin(row["id"])
    await now.wait()


def slow_in_a_thread(row: Row, ctx: Context) -> None:
    now.begin(row["id"])
    now.sent.wait()
