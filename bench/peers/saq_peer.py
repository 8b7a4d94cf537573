from __future__ import annotations

import asyncio
from typing import Any

import roles
import uvloop
from probe import NAP
from saq import Queue, Worker

role, settings, probe = roles.asked()


async def noop(_: dict[str, Any], *, i: int) -> None:
    probe.done()


async def nap(_: dict[str, Any], *, i: int) -> None:
    await asyncio.sleep(NAP)
    probe.done()


async def pick(_: dict[str, Any], *, i: int) -> None:
    probe.picked(i)


async def main() -> None:
    queue = Queue.from_url(settings.url, max_concurrent_ops=max(20, settings.concurrency))
    if role == "work":
        await Worker(queue, functions=[noop, nap, pick], concurrency=settings.concurrency).start()
        return
    play = roles.fill if role == "fill" else roles.trickle
    await play(settings, lambda i: queue.enqueue(settings.kind, i=i, ttl=-1))  # without ttl=-1 it keeps each result
    await queue.disconnect()


uvloop.run(main())
