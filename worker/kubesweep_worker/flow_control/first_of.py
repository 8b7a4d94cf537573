"""Waiting for several things at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def first_of(*ends: Awaitable[object]) -> None:
    """Return when one of these ends, and cancel the others."""
    waits = [asyncio.ensure_future(each) for each in ends]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
