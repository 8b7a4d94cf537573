"""Calling moves: one server (or cluster), its scripts, its clock, and what its errors mean.

A move is sent by its hash; a server that does not know it (restarted, flushed, failed over) gets the source. Nothing is
ever repeated by itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from redis.exceptions import NoScriptError

from kubesweep.errors import Outage
from kubesweep.queue.model import ScheduleRef
from kubesweep.queue.redis.codec import pack
from kubesweep.queue.redis.connections import Lines, close_client, open_client, parse, request
from kubesweep.queue.redis.errors import ERRORS, UNREADABLE, damaged, is_no_group, outage
from kubesweep.queue.redis.scripts import keys, script

SCAN_SECONDS = 60.0  # for a look at all keys of the server
SCAN_COUNT = 1000
LONGEST_KEY = 512
T = TypeVar("T")
AT_ONCE = 16  # moves under way; a connection each, and more would only wait for each other in the server


@lru_cache(maxsize=1024)
def _head(command: str, what: str, names: tuple[bytes, ...]) -> bytes:
    """A call of a script as the server reads it, up to its one argument: the same for each move of a schedule."""
    return request(command.encode(), what.encode(), b"%d" % len(names), *names, more=1)


def _call(command: str, what: str, names: tuple[bytes, ...], given: bytes) -> bytes:
    return b"%b$%d\r\n%b\r\n" % (_head(command, what, names), len(given), given)


def _blocking_read(streams: dict[bytes, str], seconds: float) -> tuple[bytes, ...]:
    block = (b"BLOCK", b"%d" % math.ceil(seconds * 1000)) if seconds > 0 else ()
    return (b"XREAD", b"COUNT", b"1", *block, b"STREAMS", *streams, *(id_.encode() for id_ in streams.values()))


class RedisLink:
    """``clock`` replaces the server's clock, for tests. Every method raises ``Outage``; connects at the first call."""

    def __init__(self, url: str, clock: Callable[[], float] | None) -> None:
        self._target = parse(url)
        self.timeout = self._target.timeout  # seconds that an answer may take
        self._client = open_client(self._target)
        self._lines = None if self._target.kind == "cluster" else Lines(self._client)
        self._closed = False
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.clock = clock

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await close_client(self._client)

    async def move(self, name: str, ref: ScheduleRef, /, **arguments: Any) -> Any:
        """Run a move. None where the schedule's group is gone."""
        move, names, given = script(name), keys(ref.prefix), self._packed(arguments)

        async def call() -> Any:
            try:
                return await self._evaluate("EVALSHA", move.sha, names, given)
            except NoScriptError:
                return await self._evaluate("EVAL", move.source, names, given)

        async with self._turns:
            return await self._guard(call)

    async def move_each(self, name: str, refs: Sequence[ScheduleRef]) -> list[Any]:
        """Run a move without arguments for many schedules in one round trip."""

        async def call() -> list[Any]:
            pipe = self._client.pipeline(transaction=False)
            for ref in refs:
                pipe.execute_command("EVALSHA", script(name).sha, *self._tail(ref, {}))
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            return replies

        async with self._turns:
            replies = await self._guard(call) if refs else []
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # The first brings the source to its node, then the others find it there.
            replies[unknown[0]] = await self.move(name, refs[unknown[0]])
            again = await self.move_each(name, [refs[at] for at in unknown[1:]])
            for at, reply in zip(unknown[1:], again, strict=True):
                replies[at] = reply
        return [self.answer(reply) for reply in replies]

    async def read(self, streams: dict[bytes, str], seconds: float) -> bool:
        """Block until an entry appears behind one of the ids, at most that long. Whether one did, or the link closed."""

        async def call() -> Any:
            command = _blocking_read(streams, seconds)
            if self._lines is None:
                return await self._client.execute_command("XREAD", *command[1:])
            return await self._lines.ask(request(*command))

        try:
            return bool(await self._guard(call, seconds + self.timeout))
        except Outage:
            if self._closed:
                return True
            raise

    async def read_and_move(
        self, streams: dict[bytes, str], seconds: float, name: str, ref: ScheduleRef, /, **arguments: Any
    ) -> tuple[Any, Any]:
        """:meth:`read`, and behind it a move, which the server runs at once: no trip lies between the two. Returns what was
        read (or the error reply, see :meth:`answer`) and what :meth:`move` would."""
        if (lines := self._lines) is None:
            return await self.read(streams, seconds), await self.move(name, ref, **arguments)
        move, read = script(name), request(*_blocking_read(streams, seconds))
        behind = _call("EVALSHA", move.sha, keys(ref.prefix), self._packed(arguments))

        async def call() -> tuple[Any, Any]:
            seen, reply = await lines.ask_both(read, behind)
            if isinstance(reply, Exception) and not isinstance(reply, NoScriptError):
                raise reply
            return seen, reply

        seen, reply = await self._guard(call, seconds + self.timeout) or (None, None)
        return seen, await self.move(name, ref, **arguments) if isinstance(reply, NoScriptError) else reply

    async def scan(self, pattern: str, field: str, most: int) -> list[tuple[Any, Any]]:
        """(key, value of the field) of each hash whose key fits and that has the field, ``most`` at most. Neither is longer than any that
        is ever written."""

        async def call() -> list[tuple[Any, Any]]:
            found: list[tuple[Any, Any]] = []
            async for key in self._client.scan_iter(match=pattern, count=SCAN_COUNT, _type="hash"):
                if len(key) > LONGEST_KEY or not 0 < await self._client.hstrlen(key, field) <= LONGEST_KEY:
                    continue
                if value := await self._client.hget(key, field):
                    found.append((key, value))
                if len(found) == most:
                    break
            return found

        return list(await self._guard(call, SCAN_SECONDS))

    async def _evaluate(self, command: str, what: str, names: tuple[bytes, ...], given: bytes) -> Any:
        if self._lines is None:
            return await self._client.execute_command(command, what, len(names), *names, given)
        return await self._lines.ask(_call(command, what, names, given))

    def _tail(self, ref: ScheduleRef, arguments: dict[str, Any]) -> tuple[Any, ...]:
        names = keys(ref.prefix)
        return (len(names), *names, self._packed(arguments))

    def _packed(self, arguments: dict[str, Any]) -> bytes:
        given = {name: value for name, value in arguments.items() if value is not None}
        if self.clock is not None:
            given["now"] = self.clock()
        return pack(given)

    def answer(self, reply: Any) -> Any:
        """Raises ``Outage`` where the reply is an error. None where the schedule's group is gone."""
        if not isinstance(reply, Exception):
            return reply
        if is_no_group(reply):
            return None
        raise outage(reply, self._target.where) from reply

    def understood(self, read: Callable[[Any], T], reply: Any) -> T:
        """What ``read`` makes of a reply. Raises ``Damaged`` where it is not what a move of ours wrote."""
        try:
            return read(reply)
        except UNREADABLE as error:
            raise damaged(error, self._target.where) from error

    async def _guard(self, call: Callable[[], Awaitable[Any]], seconds: float | None = None) -> Any:
        """Await ``call``, at most that long (the URL's socket_timeout). None where the schedule's group is gone."""
        if self._closed:
            raise Outage("QueueClosed", f"queue {self._target.where}: this process closed it. Open it again")
        try:
            async with asyncio.timeout(seconds or self.timeout):
                return await call()
        except ERRORS as error:
            if is_no_group(error):
                return None
            met = outage(error, self._target.where)
            if met.reason == "QueueReadOnly" and self._lines is not None:
                # A primary that became a replica keeps its connections: they would say so for ever.
                await self._lines.hang_up()
            elif met.reason == "QueueTimeout" and self._lines is None:
                # Another node may serve in place of a silent one by now. That client learns it when it begins anew only.
                await close_client(self._client)
            raise met from error
