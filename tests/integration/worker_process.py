"""A worker in a process of its own: ``python -m tests.integration.worker_process '<json>'``."""

from __future__ import annotations

import asyncio
import json
import resource
import sys

from kubesweep.api.plan import Plan
from kubesweep.logging import configure
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.runtime.signals import install_signal_handlers
from kubesweep_worker.settings import WorkerSettings


async def main(options: dict[str, str]) -> int:
    settings = WorkerSettings(**json.loads(options["settings"]))
    plan = Plan.from_json(options["plan"])
    worker = build_worker(plan, url=lambda: options["url"], queue_url=options["queue"], settings=settings)
    install_signal_handlers(worker, within=float(options["within"]) if "within" in options else None)
    print("ready", flush=True)
    return await worker.run(until_settled=bool(options.get("once")))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    configure(as_json=True)
    if memory := given.get("memory"):
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    sys.exit(asyncio.run(main(given)))
