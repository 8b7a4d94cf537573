"""A process to which something happens that one does not want in the process of the tests.

``python -m tests.contract.restricted_process full PATH``: may not make files larger, as on a full disk.
``python -m tests.contract.restricted_process read-only PATH``: an ordinary user, where the tests run as root.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path

from kubesweep.errors import Outage
from kubesweep.queue.model import Window
from kubesweep.queue.sqlite.queue import SqliteQueue
from tests.contract.helpers import CUTOFF, REF, get_stats, one, open_sweep, plan_job, range_job

NOBODY = 65534


async def full(path: str) -> None:
    queue = SqliteQueue(path)
    sweep = (await open_sweep(queue)).sweep
    claim = await one(queue)
    written = Path(f"{path}-wal").stat().st_size  # noqa: ASYNC240 - nothing else runs here
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (written + 4096, hard))
    jobs = tuple(range_job(sweep, 1, at) for at in range(3000))
    try:
        await queue.advance(REF, claim, Window(CUTOFF, jobs, planned=3000))
    except Outage as error:
        print(error.reason, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    stats = await get_stats(queue)
    if (stats.running, stats.ready, stats.sweep and stats.sweep.planned) == (1, 0, 0):
        small = Window(CUTOFF, (range_job(sweep, 7),), plan_job(sweep), planned=7)
        if await queue.advance(REF, claim, small):
            await one(queue)
            print("recovered")
    await queue.close()


async def read_only(path: str) -> None:
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    queue = SqliteQueue(path)
    try:
        await one(queue)
    except Outage as error:
        print(error.reason, error)
    await queue.close()


if __name__ == "__main__":
    asyncio.run({"full": full, "read-only": read_only}[sys.argv[1]](sys.argv[2]))
