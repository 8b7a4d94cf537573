"""Asking the queue's servers one by one, for what concerns a server and no schedule: users, memory, scripts.

Each question has a connection of its own, so that a server that is stuck keeps nobody waiting for it.
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
    """What ``question`` makes of a client of this server; at most the URL's socket_timeout, or ``seconds``. Raises Outage."""
    return await _within(server, _ask(server, question), seconds)


async def serving(target: Target) -> tuple[list[Target], list[Target]]:
    """The servers that serve now, and their replicas. Raises Outage."""
    return await _within(target, servers(target), None)


async def ask_everywhere(target: Target, question: Callable[[Any], Awaitable[_T]]) -> list[_T]:
    """What each server that serves answers. Replicas, which may come to serve, are asked too where they can be reached: servers do
    not tell each other of users. Raises Outage."""

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
