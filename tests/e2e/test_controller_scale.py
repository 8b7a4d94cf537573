"""Three hundred SweepSchedules created at once, and then idle.

``KUBESWEEP_IDLE_ROUNDS`` makes the idle part longer. In a round the controller reconciles each schedule once, which takes a minute.
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
from tests.kits.controller_environment import ControllerEnvironment, now, requests_since, writes_since
from tests.kits.polling import until
from tests.kits.servers import free_port

SCHEDULES_COUNT = 300
SOON = 600.0  # seconds
IDLE_PATIENCE = 900.0
MEBIBYTES = 150
REQUESTS = 20  # to the API server for each schedule, until it is served
ROUNDS = int(os.environ.get("KUBESWEEP_IDLE_ROUNDS") or 1)
RECONCILED = re.compile(r"^kubesweep_reconcile_duration_seconds_count (\S+)$", re.MULTILINE)
T = TypeVar("T")


def names() -> list[str]:
    return [f"s{number:03d}" for number in range(SCHEDULES_COUNT)]


async def for_each(work: Callable[[str], Awaitable[T]]) -> None:
    """Run ``work`` for each name, 16 at a time."""
    limit = asyncio.Semaphore(16)

    async def one(name: str) -> None:
        async with limit:
            await work(name)

    await asyncio.gather(*map(one, names()))


def memory(pid: int) -> float:
    """The peak memory of the process, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


async def count(env: ControllerEnvironment, type_: str | None) -> int:
    """The number of schedules with a status for their generation, or with ``type_`` those for which that condition is True."""
    bodies = await env.api.list(SCHEDULES, env.namespace)
    statuses = [each.get("status") or {} for each in bodies]
    if type_ is None:
        return sum(each.get("observedGeneration") == 1 for each in statuses)
    return sum((find_condition(each, type_) or {}).get("status") == "True" for each in statuses)


async def until_idle(env: ControllerEnvironment, port: int, reconciles: int) -> None:
    """Wait until the controller has reconciled ``reconciles`` times since its last write."""

    def reconciled() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            found = RECONCILED.search(answer.read().decode())
        assert found is not None
        return int(float(found[1]))

    seen: list[tuple[str, int]] = []

    async def silent() -> bool:
        await asyncio.sleep(1)
        seen.append((now(), await asyncio.to_thread(reconciled)))
        if seen[-1][1] - seen[0][1] < reconciles:
            return False
        written = writes_since(env, seen[0][0])
        if written:
            last = max(each.at for each in written)
            seen[:] = [each for each in seen if each[0] > last]
        return bool(seen) and seen[-1][1] - seen[0][1] >= reconciles

    await until(silent, IDLE_PATIENCE)


@pytest.mark.slow
@pytest.mark.bed
async def test_three_hundred_schedules_are_served_soon_and_cost_nothing_afterwards(env: ControllerEnvironment) -> None:
    port, start, began = free_port(), now(), time.monotonic()
    process = await env.start_controller(KUBESWEEP_PORT=str(port))

    def step(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}")

    await for_each(env.apply)

    async def all_seen() -> bool:
        return await count(env, None) == SCHEDULES_COUNT

    await until(all_seen, SOON)
    asked = len(requests_since(env, start))
    step(f"{SCHEDULES_COUNT} applied and served, with {asked} requests")
    await for_each(env.complete_check)

    async def all_ready() -> bool:
        return await count(env, "Ready") == SCHEDULES_COUNT

    await until(all_ready, SOON)
    step("all Ready")
    await until_idle(env, port, ROUNDS * SCHEDULES_COUNT)
    most = memory(process.pid)
    step(f"each reconciled {ROUNDS} times without a write; {most:.0f} MiB at most")
    await for_each(lambda name: env.api.delete(SCHEDULES, env.namespace, name))

    async def gone() -> bool:
        return not await env.api.list(SCALEDOBJECTS, env.namespace)

    await until(gone, IDLE_PATIENCE)  # so that KEDA is free for the next tests
    step("all deleted, with their children")
    assert most <= MEBIBYTES
    assert asked <= REQUESTS * SCHEDULES_COUNT
