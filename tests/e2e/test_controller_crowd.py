"""Three hundred SweepSchedules at once, and then nothing to do.

KEDA's own work is not waited for. ``KUBESWEEP_IDLE_SECONDS`` makes the quiet part longer than a test can afford by default.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from kubesweep_controller.api import SCHEDULES
from kubesweep_controller.conditions import find
from tests.e2e.stage import Stage, now, until, writes_since

CROWD = 300
SECONDS = 30.0
MEBIBYTES = 150
QUIET = (
    65.0  # seconds without a write after which nothing is left to be told: a look at an idle schedule comes each minute
)
IDLE = float(os.environ.get("KUBESWEEP_IDLE_SECONDS", "60"))


def names() -> list[str]:
    return [f"s{number:03d}" for number in range(CROWD)]


def memory(pid: int) -> float:
    """The most that the process ever had, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


async def count(stage: Stage, type_: str | None) -> int:
    """How many were seen by the controller; with a type, of how many that condition is True."""
    bodies = await stage.api.list(SCHEDULES, stage.namespace)
    statuses = [each.get("status") or {} for each in bodies]
    if type_ is None:
        return sum(each.get("observedGeneration") == 1 for each in statuses)
    return sum((find(each, type_) or {}).get("status") == "True" for each in statuses)


@pytest.mark.slow
async def test_three_hundred_at_once_are_served_soon_and_cost_nothing_afterwards(stage: Stage) -> None:
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # what others make of this machine stretches the time
    process = await stage.start()
    turns = asyncio.Semaphore(16)

    async def apply(name: str) -> None:
        async with turns:
            await stage.apply(name)

    began = time.monotonic()
    await asyncio.gather(*map(apply, names()))

    async def all_seen() -> bool:
        return await count(stage, None) == CROWD

    await until(all_seen, 4 * SECONDS * busy)
    took = time.monotonic() - began
    print(f"{CROWD} applied and served in {took:.1f} s, on a machine {busy:.1f} times too busy")
    for name in names():
        await stage.be_the_worker(name)

    async def all_ready() -> bool:
        return await count(stage, "Ready") == CROWD

    await until(all_ready, 4 * SECONDS * busy)

    async def quiet() -> bool:
        start = now()
        await asyncio.sleep(QUIET)
        return not writes_since(stage, start)

    await until(quiet, 600.0)
    start = now()
    await asyncio.sleep(IDLE)
    written = writes_since(stage, start)
    most = memory(process.pid)
    print(f"{IDLE:g} s idle: {len(written)} writes; {most:.0f} MiB at most")
    assert written == []
    assert most <= MEBIBYTES
    assert took <= SECONDS * busy
