"""Signals. The first SIGTERM or SIGINT drains: what is in hand is settled or given back; the second stops now."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Protocol

log = logging.getLogger("kubesweep.worker")


class Stoppable(Protocol):
    def stop(self, *, now: bool = False) -> None: ...


def install_signals(*workers: Stoppable) -> None:
    """Let SIGTERM and SIGINT stop ``workers``; to be called inside the running event loop."""
    loop = asyncio.get_running_loop()
    seen = 0

    def on_signal(name: str) -> None:
        nonlocal seen
        seen += 1
        log.info("draining" if seen == 1 else "stopping now", extra={"signal": name})
        for worker in workers:
            worker.stop(now=seen > 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
