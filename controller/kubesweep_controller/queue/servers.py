"""Queries to the queue's servers one by one, for what concerns a server and no schedule: users, memory, stuck scripts.

Each query opens its own connection, so that a stuck server delays no other one. They bypass :class:`.guarded_queue.GuardedQueue` on
purpose: its breaker is open when a stuck server needs them most. Each has a timeout of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from kubesweep.queue.redis.connections import Target, close_client, open_client, servers
from kubesweep.queue.redis.errors import ERRORS, outage

_T = TypeVar("_T")


async def ask(server: Target, question: Callable[[Any], Awaitable[_T]], seconds: float | None = None) -> _T:
    """The result of ``question`` for a client of this server. Takes at most the URL's socket_timeout, or ``seconds``. Raises ``Outage``."""
    return await _within(server, _ask(server, question), seconds)


async def serving(target: Target) -> tuple[list[Target], list[Target]]:
    """The servers that serve now, and their replicas. Raises ``Outage``."""
    return await _within(target, servers(target), None)


async def ask_everywhere(target: Target, question: Callable[[Any], Awaitable[_T]]) -> list[_T]:
    """The answers of all servers that serve. Raises ``Outage``.

    Replicas are asked too where they can be reached, because they may be promoted and servers do not replicate users.
    """

    async def all_serving() -> tuple[list[_T], list[Target]]:
        now, later = await servers(target)
        return list(await asyncio.gather(*(_ask(each, question) for each in now))), later

    answers, replicas = await _within(target, all_serving(), None)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(target.timeout):
            await asyncio.gather(*(_ask(each, question) for each in replicas), return_exceptions=True)
    return answers


async def _ask(server: Target, question: Callable[[Any], Awaitable[_T]]) -> _T:
    client = open_client(server)
    try:
        return await question(client)
    finally:
        await close_client(client)


async def _within(target: Target, call: Awaitable[_T], seconds: float | None) -> _T:
    try:
        async with asyncio.timeout(seconds or target.timeout):
            return await call
    except ERRORS as error:
        raise outage(error if str(error) else TimeoutError("no answer"), target.where) from error
