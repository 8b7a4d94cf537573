"""A worker process for the measurement: prints ``ready`` once everything is imported, then works until SIGTERM.

python -m bench.worker PLAN_JSON DATABASE_URL QUEUE_URL
"""

from __future__ import annotations

import asyncio
import signal
import sys

from kubesweep.api.plan import Plan
from kubesweep_worker.runtime.build import build_worker, freeze_imports
from kubesweep_worker.runtime.event_loop import run
from kubesweep_worker.settings import WorkerSettings


async def work(plan: Plan, url: str, queue_url: str) -> None:
    settings = WorkerSettings(concurrency=plan.concurrency)
    worker = build_worker(plan, url=lambda: url, queue_url=queue_url, settings=settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    freeze_imports()
    print("ready", flush=True)
    await worker.run()


if __name__ == "__main__":
    run(work(Plan.from_json(sys.argv[1]), sys.argv[2], sys.argv[3]))
