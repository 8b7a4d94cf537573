"""Real processes on one store, one of them killed at any moment: the counters still add up."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from pathlib import Path

from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, SweepState
from tests.contract.helpers import get_stats, open_sweep, start

JOBS, ROWS = 400, 5
ROOT = Path(__file__).parents[2]


async def _worker(url: str, who: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.contract.worker_process",
        url,
        who,
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def _ready(worker: asyncio.subprocess.Process) -> None:
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"ready\n"


async def test_three_processes_one_of_them_killed_settle_every_row_once(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    life = random.Random(seed).uniform(0, 0.3)
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    queue = connect(url)
    sweep = await start(queue, *([ROWS] * JOBS))
    workers = [
        await _worker(url, "ann", str(seed)),
        await _worker(url, "bob", str(seed + 1)),
        await _worker(url, "eve", str(seed + 2), str(life)),
    ]
    for worker in workers:
        await _ready(worker)
    answers = await asyncio.gather(*(worker.communicate(b"go\n") for worker in workers))
    said = [out.decode().split() for out, _ in answers]
    assert [worker.returncode for worker in workers] == [0, 0, -signal.SIGKILL]
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.id, stats.sweep.state) == (sweep, SweepState.COMPLETED)
    assert (stats.sweep.planned, stats.sweep.balanced, stats.sweep.open_jobs) == (JOBS * ROWS, True, 0)
    assert (stats.sweep.applied, stats.running, stats.ready) == (JOBS * ROWS, 0, 0)
    drain = sum(lines.count(f"finished:{sweep}") for lines in said)
    assert drain <= 1  # the one that was killed may have had the last word and not said it
    await queue.close()


async def test_processes_that_open_one_new_file_at_once_agree_on_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    queues = [connect(url) for _ in range(8)]
    tick = time.time()
    opened = await asyncio.gather(*(open_sweep(queue, tick) for queue in queues))
    assert sorted(each.answer for each in opened) == [OpenResult.DUPLICATE] * 7 + [OpenResult.ENQUEUED]
    for queue in queues:
        await queue.close()
