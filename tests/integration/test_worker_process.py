from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubesweep.api.plan import Plan
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Stats, SweepRequest, SweepState
from tests.integration.test_worker_handlers import handler_plan, left, make_table
from tests.kits.deadlines import scaled

QUICK = {"lease": 30.0, "deadline": 600.0, "backoff": 0.05, "max_backoff": 0.2}


class Site:
    """A table, a queue, and worker processes that end when the test does."""

    def __init__(self, folder: Path, plan: Plan, rows: int) -> None:
        self.folder, self.plan = folder, plan
        self.url = make_table(folder / "carts.db", rows)
        self.where = f"sqlite:///{folder / 'queue.db'}"
        self.queue = connect(self.where)
        self.notes = folder / "notes"
        self.started: list[asyncio.subprocess.Process] = []

    async def open(self) -> None:
        await self.queue.open_sweep(self.plan.ref, SweepRequest(tick=1.0, plan=self.plan.version))

    async def start(self, *, once: bool = True, **options: Any) -> asyncio.subprocess.Process:
        settings = {**QUICK, "concurrency": 2, **options.pop("settings", {})}
        given = {"settings": json.dumps(settings), "plan": self.plan.to_json(), "url": self.url, "queue": self.where}
        text = json.dumps({**given, "once": "yes" if once else "", **options})
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.worker_process", text,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KS_TEST_NOTES": str(self.notes)},
        )  # fmt: skip
        self.started.append(process)
        return process

    async def finish(self, process: asyncio.subprocess.Process) -> tuple[int, str]:
        async with asyncio.timeout(scaled(60)):
            _, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, err.decode()

    async def stats(self) -> Stats:
        (stats,) = await self.queue.stats([self.plan.ref])
        return stats

    def noted(self) -> Counter[int]:
        return Counter(int(line.split()[0]) for line in self.notes.read_text().splitlines())

    async def close(self) -> None:
        for process in self.started:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        await self.queue.close()


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[Any]:
    made: list[Site] = []

    def make(plan: Plan, rows: int) -> Site:
        made.append(Site(tmp_path, plan, rows))
        return made[-1]

    yield make
    for site in made:
        await site.close()


async def test_a_handler_that_blocks_the_loop_ends_its_process_with_70(sites: Any) -> None:
    site = sites(handler_plan("blocks_the_loop"), 20)
    await site.open()
    code, err = await site.finish(await site.start(settings={"lease": 0.6, "deadline": 3.0}))
    assert code == 70
    assert "blocks_the_loop" in err
    assert re.search(r"for 3 s: range \d+ \(sweep \w+, 20 rows, delivery 1\)", err)


async def test_a_row_that_crashes_its_worker_is_the_only_one_that_is_dead_lettered(sites: Any) -> None:
    site = sites(handler_plan("kills", limits=msgspec.structs.replace(handler_plan("good").limits, batch_rows=8)), 24)
    await site.open()
    crashes = 0
    while (sweep := (await site.stats()).sweep) is not None and not sweep.state.settled:
        code, err = await site.finish(await site.start(settings={"lease": 0.6}))
        assert code in (0, 9), err
        crashes += code == 9
    assert sweep is not None
    assert (sweep.state, sweep.balanced, sweep.dead) == (SweepState.COMPLETED, True, 1)
    (letter,) = await site.queue.dead_letters(site.plan.ref)
    assert (letter.key, letter.error) == (("13",), "WorkerKilled")
    assert "5 times" in letter.message
    assert left(site.folder / "carts.db") == [13]
    assert crashes <= 4 + 3 + 5
    keys = {tuple(line.split()) for line in site.notes.read_text().splitlines()}
    assert len(keys) == 24


async def test_a_handler_that_eats_all_memory_costs_its_row_only(sites: Any) -> None:
    site = sites(handler_plan("eats_memory", concurrency=2, timeout=60.0), 20)
    await site.open()
    code, err = await site.finish(await site.start(memory=str(1 << 30)))
    assert code == 0, err
    (letter,) = await site.queue.dead_letters(site.plan.ref)
    assert (letter.key, letter.error) == (("13",), "MemoryError")
    assert left(site.folder / "carts.db") == [13]


@pytest.mark.parametrize("function", ["stops_the_worker", "blocks_and_stops_the_worker"])
async def test_sigterm_ends_the_effects_under_way_writes_them_and_gives_the_rest_back(
    sites: Any, function: str
) -> None:
    """The second kind blocks the event loop, so only the signal handler itself can prevent its next call."""
    site = sites(handler_plan(function), 100)
    await site.open()
    code, err = await site.finish(await site.start(settings={"sub_batch": 20, "concurrency": 1}))
    assert code == 0, err
    stats = await site.stats()
    assert (stats.running, stats.ready) == (0, 1)
    assert stats.sweep is not None
    assert stats.sweep.applied == 13
    assert left(site.folder / "carts.db") == list(range(14, 101))
    code, err = await site.finish(await site.start())
    assert code == 0, err
    assert site.noted() == Counter(dict.fromkeys(range(1, 101), 1))


async def test_a_process_that_something_holds_after_sigterm_ends_within_the_grace_of_its_pod(sites: Any) -> None:
    site = sites(handler_plan("holds_the_process"), 20)
    await site.open()
    code, err = await site.finish(await site.start(within="1", settings={"concurrency": 1}))
    assert code == 1
    assert "most recent call first" in err
    assert (await site.stats()).running == 0
    assert left(site.folder / "carts.db") == list(range(14, 21))


async def test_an_idle_worker_leaves_on_sigterm_and_a_hanging_one_on_the_second_signal(sites: Any) -> None:
    site = sites(handler_plan("hangs", timeout=3600.0), 20)
    await site.open()
    # the second signal gives a second for what is to be written, which may be short beside other work
    process = await site.start(once=False, settings={"grace": scaled(10)})
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    while (await site.stats()).running == 0 or not (stats := await site.stats()).sweep or stats.sweep.planned == 0:
        await site.queue.wait(site.plan.ref, 0.05)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    while b"draining" not in await process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    code, err = await site.finish(process)
    assert code == 0, err
    stats = await site.stats()
    assert (stats.running, stats.ready) == (0, 1)


@pytest.mark.parametrize(("handler", "rows"), [("forks_a_pool", 4), ("ends_a_process_at_once", 40)])
async def test_a_handler_may_fork_processes_and_end_them_without_stopping_its_worker(
    sites: Any, handler: str, rows: int
) -> None:
    site = sites(handler_plan(handler, timeout=60.0, concurrency=1), rows)
    await site.open()
    code, err = await site.finish(await site.start())
    assert (code, "draining" in err) == (0, False)
    assert site.noted() == Counter(range(1, rows + 1))
    assert left(site.folder / "carts.db") == []
