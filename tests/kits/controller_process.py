"""A controller as a process of the test, restarted in the cases in which Kubernetes would restart its pod."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

LEASE_LOST = 1  # the exit code after a lost Lease, for which an API server that is slow for ten seconds is enough


class ControllerProcess:
    """``restarts``: whether it restarts after a lost Lease. All of its processes write to the same log file."""

    def __init__(self, env: Mapping[str, str], log: Path, *, restarts: bool) -> None:
        self._env, self._log, self._restarts = env, log, restarts
        self._lock = asyncio.Lock()
        self._stopping = False
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        await self._spawn()
        if self._restarts:
            self._supervisor = asyncio.create_task(self._supervise())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    async def kill(self, how: signal.Signals) -> int:
        async with self._lock:
            self._stopping = True
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(how)
            return await self._process.wait()

    async def _supervise(self) -> None:
        while await self._process.wait() == LEASE_LOST:
            async with self._lock:
                if self._stopping:
                    return
                await self._spawn()

    async def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "kubesweep_controller.main", env={**os.environ, **self._env}, stderr=log
            )
