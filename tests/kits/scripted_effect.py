"""An effect that a test scripts, and that records its deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kubesweep_worker.effects.base import Delivery


class ScriptedEffect:
    """Calls ``script`` for each delivery, which may raise, and records the delivery."""

    leaked = 0

    def __init__(self, script: Callable[[Delivery], Any] = lambda delivery: None) -> None:
        self.script = script
        self.calls: list[Delivery] = []

    def check(self) -> None:
        return None

    async def probe(self) -> None:
        self.check()

    async def ask(self) -> None:
        return None

    async def start(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def deliver(self, delivery: Delivery) -> None:
        self.calls.append(delivery)
        answer = self.script(delivery)
        if asyncio.iscoroutine(answer):
            await answer
