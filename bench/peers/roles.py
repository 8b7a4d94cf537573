"""The roles of probe.py, for peers whose API enqueues one job per call."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from probe import TOGETHER, Probe, Settings, say

Enqueue = Callable[[int], Awaitable[object]]


async def fill(settings: Settings, enqueue: Enqueue) -> None:
    """Enqueue concurrently, because none of these peers has a call for a batch."""
    began = time.monotonic()
    for first in range(0, settings.jobs, TOGETHER):
        await asyncio.gather(*(enqueue(i) for i in range(first, min(settings.jobs, first + TOGETHER))))
    say(jobs=settings.jobs, seconds=time.monotonic() - began)


async def trickle(settings: Settings, enqueue: Enqueue) -> None:
    sent = []
    due = time.monotonic()
    for i in range(1, settings.warm + settings.jobs + 1):
        due += settings.pause
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        sent.append(time.monotonic())
        await enqueue(i)
    say(sent=sent)


def asked() -> tuple[str, Settings, Probe]:
    """Role, settings and probe of this process."""
    settings = Settings.parse(sys.argv[2])
    return sys.argv[1], settings, Probe(settings)
