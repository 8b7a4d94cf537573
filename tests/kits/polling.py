"""Waiting for a state that no watch reports, such as rows of a table or counters of a server: ask until the answer is true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.kits.deadlines import scaled

T = TypeVar("T")
PATIENCE = 240.0  # seconds; a passing test does not wait for it


def eventually(what: str, seconds: float, ask: Callable[[], T]) -> T:
    """Return the first answer that is true; ``what`` names the awaited state in the failure.

    Asking takes a fifth of the time at most: counting a large table all the time would slow the workers down.
    """
    seconds, asked = scaled(seconds), time.monotonic()
    until = asked + seconds
    while not (answer := ask()):
        now = time.monotonic()
        assert now < until, f"not within {seconds:g} s: {what}; the last answer was {answer!r}"
        time.sleep(min(2.0, max(0.1, 4 * (now - asked))))
        asked = time.monotonic()
    return answer


async def until(ask: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T:
    """Return the first answer that is true, asking every 50 ms."""
    found: T | None = None
    seconds = scaled(seconds)
    try:
        async with asyncio.timeout(seconds):
            while not (found := await ask()):  # noqa: ASYNC110  no watch reports it
                await asyncio.sleep(0.05)
            return found
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s; the last answer was {found!r}") from None
