"""The contestants of bench/controller.py as processes: the controller as its pod runs it, and kopf's plain loop."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bench.controller_world import RELEASE, World

ROOT = Path(__file__).parents[1]
PATIENCE = 3600.0  # seconds until all schedules are served
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A running contestant."""

    def __init__(self, running: asyncio.subprocess.Process, log: Path) -> None:
        self.running, self._log, self._began = running, log, time.monotonic()

    def age(self) -> float:
        return time.monotonic() - self._began

    def memory(self, field: str) -> float:
        """MiB. ``field``: VmRSS is the resident memory now, VmHWM the most until now (proc(5))."""
        lines = Path(f"/proc/{self.running.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    def cpu(self) -> float:
        """Seconds of processor time until now."""
        numbers = Path(f"/proc/{self.running.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / TICKS

    async def until(self, ask: Callable[[], Awaitable[bool]]) -> float:
        """Ask until the answer is yes, for a fifth of the time at most. Returns the seconds since the start."""
        while self.age() < PATIENCE:
            if self.running.returncode is not None:
                raise RuntimeError(f"{self._log.stem} ended with {self.running.returncode}: {self.failure()}")
            asked = time.monotonic()
            if await ask():
                return self.age()
            await asyncio.sleep(min(10.0, max(0.1, 4 * (time.monotonic() - asked))))
        raise RuntimeError(f"{self._log.stem}: not all are served after {PATIENCE:.0f} s: {self.failure()}")

    def failure(self) -> str:
        return self._log.read_text()[-2000:]


class Contestant(ABC):
    name: str
    command: tuple[str, ...]

    def environment(self, around: World) -> dict[str, str]:
        return {"KUBECONFIG": str(around.api.kubeconfig)}

    @asynccontextmanager
    async def started(self, around: World) -> AsyncIterator[Process]:
        log = around.api.kubeconfig.with_name(f"{self.name}.log")
        with log.open("ab") as output:
            running = await asyncio.create_subprocess_exec(
                *self.command,
                cwd=ROOT,
                env={**os.environ, **self.environment(around)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
            )
        try:
            yield Process(running, log)
        finally:
            if running.returncode is None:
                running.terminate()  # the controller releases its Lease, so that the next one need not wait
            await running.wait()

    @abstractmethod
    async def serve(self, around: World, process: Process) -> float:
        """Wait until the contestant has processed every schedule. Returns the seconds since its start."""

    @abstractmethod
    async def finish(self, around: World) -> None:
        """Do what the contestant waits for after that."""


class KopfLoop(Contestant):
    name = "kopf"

    def __init__(self, schedules: int) -> None:
        self.command = (sys.executable, "bench/peers/kopf_peer.py", str(schedules))

    async def serve(self, around: World, process: Process) -> float:
        assert process.running.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await process.running.stdout.readline()
        if line != b"seen\n":
            raise RuntimeError(f"kopf ended: {process.failure()}")
        return process.age()

    async def finish(self, around: World) -> None:
        return None


class Controller(Contestant):
    name = "controller"
    command = (sys.executable, "-c", "from kubesweep_controller.start import main; main()")

    def environment(self, around: World) -> dict[str, str]:
        return {
            **super().environment(around),
            "KUBESWEEP_QUEUE": around.redis.url,
            "KUBESWEEP_WORKER_IMAGE": "worker:none",
            "KUBESWEEP_LEASE_NAME": RELEASE,
            "KUBESWEEP_LOG_LEVEL": "warning",
            "KUBESWEEP_PORT": "0",
            "POD_NAMESPACE": RELEASE,
            "POD_NAME": "bench",
        }

    async def serve(self, around: World, process: Process) -> float:
        return await process.until(around.served)

    async def finish(self, around: World) -> None:
        """The workers check each source once."""
        await around.complete_checks()


class RestartedController(Controller):
    """Every schedule is served already, and its status is current. A reconcile of each proves that it was looked at."""

    def __init__(self, around: World) -> None:
        self._before = around.queue_calls()

    async def serve(self, around: World, process: Process) -> float:
        async def all_reconciled() -> bool:
            return around.queue_calls() - self._before >= around.schedules

        return await process.until(all_reconciled)

    async def finish(self, around: World) -> None:
        assert await around.served()
