"""A controller as a process of a test, which is started again where its pod would be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

LOST = 1  # how a controller ends that lost its Lease: an API server that is slow for ten seconds is enough


class Controller:
    """``restarts``: whether it is started again when it lost its Lease. Its log is one file all the same."""

    def __init__(self, env: Mapping[str, str], log: Path, *, restarts: bool) -> None:
        self._env, self._log, self._restarts = env, log, restarts
        self._turn = asyncio.Lock()
        self._ends = False
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        await self._spawn()
        if self._restarts:
            self._keeper = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    async def kill(self, how: signal.Signals) -> int:
        async with self._turn:
            self._ends = True
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(how)
            return await self._process.wait()

    async def _keep(self) -> None:
        while await self._process.wait() == LOST:
            async with self._turn:
                if self._ends:
                    return
                await self._spawn()

    async def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "kubesweep_controller.main", env={**os.environ, **self._env}, stderr=log
            )
