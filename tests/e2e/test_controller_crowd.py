"""Three hundred SweepSchedules at once, and then nothing to do.

``KUBESWEEP_IDLE_ROUNDS`` makes the quiet part longer: in a round the controller looks at each schedule once, which takes a minute.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from kubesweep_controller.kube.client import SCALEDOBJECTS, SCHEDULES
from kubesweep_controller.status.conditions.result import find_condition
from tests.e2e.stage import Stage, now, requests_since, until, writes_since
from tests.kits.servers import free_port

CROWD = 300
SOON = 120.0  # seconds
QUIET = 900.0
MEBIBYTES = 150
REQUESTS = 20  # to the API server for each schedule, until it is served
ROUNDS = int(os.environ.get("KUBESWEEP_IDLE_ROUNDS") or 1)
LOOKS = re.compile(r"^kubesweep_reconcile_duration_seconds_count (\S+)$", re.MULTILINE)
T = TypeVar("T")


def names() -> list[str]:
    return [f"s{number:03d}" for number in range(CROWD)]


async def for_each(work: Callable[[str], Awaitable[T]]) -> None:
    """A few at a time."""
    turns = asyncio.Semaphore(16)

    async def one(name: str) -> None:
        async with turns:
            await work(name)

    await asyncio.gather(*map(one, names()))


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
    return sum((find_condition(each, type_) or {}).get("status") == "True" for each in statuses)


async def quiet(stage: Stage, port: int, looks: int) -> None:
    """Returns once the controller has looked at schedules so often since it last wrote."""

    def looked() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            found = LOOKS.search(answer.read().decode())
        assert found is not None
        return int(float(found[1]))

    seen: list[tuple[str, int]] = []

    async def silent() -> bool:
        await asyncio.sleep(1)
        seen.append((now(), await asyncio.to_thread(looked)))
        if seen[-1][1] - seen[0][1] < looks:
            return False
        written = writes_since(stage, seen[0][0])
        if written:
            last = max(each.at for each in written)
            seen[:] = [each for each in seen if each[0] > last]
        return bool(seen) and seen[-1][1] - seen[0][1] >= looks

    await until(silent, QUIET)


@pytest.mark.slow
@pytest.mark.bed
async def test_three_hundred_at_once_are_served_soon_and_cost_nothing_afterwards(stage: Stage) -> None:
    port, start, began = free_port(), now(), time.monotonic()
    process = await stage.start(KUBESWEEP_PORT=str(port))

    def step(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}")

    await for_each(stage.apply)

    async def all_seen() -> bool:
        return await count(stage, None) == CROWD

    await until(all_seen, SOON)
    asked = len(requests_since(stage, start))
    step(f"{CROWD} applied and served, with {asked} requests")
    await for_each(stage.be_the_worker)

    async def all_ready() -> bool:
        return await count(stage, "Ready") == CROWD

    await until(all_ready, SOON)
    step("all Ready")
    await quiet(stage, port, ROUNDS * CROWD)
    most = memory(process.pid)
    step(f"each looked at {ROUNDS} times without a write; {most:.0f} MiB at most")
    await for_each(lambda name: stage.api.delete(SCHEDULES, stage.namespace, name))

    async def gone() -> bool:
        return not await stage.api.list(SCALEDOBJECTS, stage.namespace)

    await until(gone, QUIET)  # until KEDA, too, has time for others
    step("all gone, with what they had")
    assert most <= MEBIBYTES
    assert asked <= REQUESTS * CROWD
