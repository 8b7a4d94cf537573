from __future__ import annotations

import asyncio
import logging

import roles
import uvloop
from probe import NAP
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

role, settings, probe = roles.asked()
broker = RedisStreamBroker(settings.url, consumer_id="0")


@broker.task(task_name="noop")
async def noop(i: int) -> None:
    probe.done()


@broker.task(task_name="nap")
async def nap(i: int) -> None:
    await asyncio.sleep(NAP)
    probe.done()


@broker.task(task_name="pick")
async def pick(i: int) -> None:
    probe.picked(i)


async def main() -> None:
    if role == "work":
        broker.is_worker_process = True
        logging.disable(logging.INFO)
        await run_receiver_task(
            broker,
            run_startup=True,
            max_async_tasks=settings.concurrency,
            max_prefetch=settings.concurrency,
            validate_params=False,
        )
        return
    await broker.startup()
    task = {"noop": noop, "nap": nap, "pick": pick}[settings.kind]
    await (roles.fill if role == "fill" else roles.trickle)(settings, task.kiq)
    await broker.shutdown()


uvloop.run(main())
