"""The queue of a URL, for the length of one command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubesweep.queue.connect import connect
from kubesweep.queue.service import QueueService
from kubesweep_cli.shell.state_paths import default_queue

__all__ = ["open_queue"]


@asynccontextmanager
async def open_queue(url: str, *, create: bool = False) -> AsyncIterator[QueueService]:
    """Connect, and close at the end. ``create``: the file of a queue may be missing, because the command starts sweeps.

    The default queue may always be missing: it is nobody's typo, and a command says that it has no schedule yet.
    """
    queue = connect(url, create=create or url == default_queue())
    try:
        yield queue
    finally:
        await queue.close()
