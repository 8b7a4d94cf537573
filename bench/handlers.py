"""The handlers of bench/effects.py."""

from __future__ import annotations

import asyncio

from bench.peers.effects import PAUSE
from kubesweep_worker import Context, Row


async def nothing(row: Row, context: Context) -> None:
    return None


async def pause(row: Row, context: Context) -> None:
    await asyncio.sleep(PAUSE)
