"""A worker process of its own: ``python -m tests.contract.worker_process URL NAME SEED [SECONDS]``.

It says ``ready``, begins when it reads a line, and ends when the sweep is settled. With SECONDS it kills itself after so
long, at whatever it happens to do then, and at the latest when it has nothing left to do.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading

from kubesweep.queue.connect import connect
from kubesweep.queue.model import Limits, Settlement
from tests.contract.helpers import REF, get_stats

LIMITS = Limits(lease=0.5)


async def main(url: str, who: str, seed: int) -> None:
    dice = random.Random(seed)
    queue = connect(url)
    claims = (await queue.claim(REF, who, 3, LIMITS)).jobs
    while True:
        done = [Settlement(claim, applied=claim.job.rows) for claim in claims]
        settled = await queue.settle(REF, who, done, dice.randrange(1, 6), LIMITS)
        print("settled", *(f"finished:{sweep}" for sweep in settled.finished), flush=True)
        claims = settled.claims.jobs
        if not claims:
            sweep = (await get_stats(queue)).sweep
            if sweep is None or sweep.state.settled:
                break
            await queue.wait(REF, 2 * LIMITS.lease)
    await queue.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    if len(sys.argv) > 4:
        threading.Timer(float(sys.argv[4]), die).start()
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    if len(sys.argv) > 4:
        die()
