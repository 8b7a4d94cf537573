from __future__ import annotations

import asyncio
import os
import threading
import time

os.environ["dramatiq_queue_prefetch"] = "500"  # noqa: SIM112  the default, twice the threads, is too few here

import dramatiq
import roles
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO
from probe import NAP, say

role, settings, probe = roles.asked()
broker = RedisBroker(url=settings.url)
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(i: int) -> None:
    probe.done()


@dramatiq.actor
async def nap(i: int) -> None:
    await asyncio.sleep(NAP)
    probe.done()


@dramatiq.actor
def pick(i: int) -> None:
    probe.picked(i)


def work() -> None:
    worker = dramatiq.Worker(broker, worker_threads=settings.concurrency)
    broker.emit_after("process_boot")
    worker.start()
    threading.Event().wait()


def main() -> None:
    """The same roles as in roles.py, without asyncio, because dramatiq's calls block."""
    if role == "work":
        return work()
    send = {"noop": noop, "nap": nap, "pick": pick}[settings.kind].send
    began = due = time.monotonic()
    if role == "fill":
        for i in range(settings.jobs):
            send(i)
        return say(jobs=settings.jobs, seconds=time.monotonic() - began)
    sent = []
    for i in range(1, settings.warm + settings.jobs + 1):
        due += settings.pause
        time.sleep(max(0.0, due - time.monotonic()))
        sent.append(time.monotonic())
        send(i)
    return say(sent=sent)


main()
