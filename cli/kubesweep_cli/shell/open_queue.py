"""The queue of a URL, for the length of one command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubesweep.queue.connect import connect
from kubesweep.queue.service import QueueService

__all__ = ["open_queue"]


@asynccontextmanager
async def open_queue(url: str) -> AsyncIterator[QueueService]:
    """Connect, and close at the end."""
    queue = connect(url)
    try:
        yield queue
    finally:
        await queue.close()
