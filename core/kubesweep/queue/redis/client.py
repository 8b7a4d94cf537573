"""Running the queue's Lua scripts on one server or cluster.

A script is called by its hash. A server that does not have it (restarted, flushed, failed over) gets the source. No call is
repeated for any other reason.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from redis.exceptions import NoScriptError

from kubesweep.errors import Outage
from kubesweep.queue.model import UNREADABLE, ScheduleRef
from kubesweep.queue.redis.arguments import pack
from kubesweep.queue.redis.connections import LeasedConnections, close_client, encode_command, open_client, parse
from kubesweep.queue.redis.errors import ERRORS, damaged, is_no_group, outage
from kubesweep.queue.redis.scripts import keys, script

SCAN_SECONDS = 60.0  # for scanning all keys of the server
SCAN_COUNT = 1000
LONGEST_KEY = 512  # bytes
T = TypeVar("T")
MAX_CONCURRENT = 16  # scripts at once, each with a connection; the server would only queue more


@lru_cache(maxsize=1000)
def _head(command: str, what: str, names: tuple[bytes, ...]) -> bytes:
    """The encoded call of a script without its argument, which is the same for each call of a schedule."""
    return encode_command(command.encode(), what.encode(), b"%d" % len(names), *names, more=1)


def _call(command: str, what: str, names: tuple[bytes, ...], given: bytes) -> bytes:
    return b"%b$%d\r\n%b\r\n" % (_head(command, what, names), len(given), given)


def _blocking_read(streams: dict[bytes, str], seconds: float) -> tuple[bytes, ...]:
    block = (b"BLOCK", b"%d" % math.ceil(seconds * 1000)) if seconds > 0 else ()
    return (b"XREAD", b"COUNT", b"1", *block, b"STREAMS", *streams, *(id_.encode() for id_ in streams.values()))


class RedisClient:
    """Runs scripts and reads streams. Connects at the first call. Every method raises ``Outage``.

    ``clock`` replaces the server's clock, for tests.
    """

    def __init__(self, url: str, clock: Callable[[], float] | None) -> None:
        self._target = parse(url)
        self.timeout = self._target.timeout  # seconds that an answer may take
        self._client = open_client(self._target)
        self._connections = None if self._target.kind == "cluster" else LeasedConnections(self._client)
        self._closed = False
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self.clock = clock

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await close_client(self._client)

    async def run_script(self, name: str, ref: ScheduleRef, /, **arguments: Any) -> Any:
        """Run the script ``name`` for a schedule. None where the schedule's consumer group is gone."""
        found, names, given = script(name), keys(ref.prefix), self._packed(arguments)

        async def call() -> Any:
            try:
                return await self._evaluate("EVALSHA", found.sha, names, given)
            except NoScriptError:
                return await self._evaluate("EVAL", found.source, names, given)

        async with self._slots:
            return await self._guard(call)

    async def run_for_each(self, name: str, refs: Sequence[ScheduleRef]) -> list[Any]:
        """Run a script without arguments for many schedules in one round trip."""

        async def call() -> list[Any]:
            pipe = self._client.pipeline(transaction=False)
            for ref in refs:
                pipe.execute_command("EVALSHA", script(name).sha, *self._tail(ref, {}))
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            return replies

        async with self._slots:
            replies = await self._guard(call) if refs else []
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # The first call loads the script into its node, where the other calls then find it.
            replies[unknown[0]] = await self.run_script(name, refs[unknown[0]])
            again = await self.run_for_each(name, [refs[at] for at in unknown[1:]])
            for at, reply in zip(unknown[1:], again, strict=True):
                replies[at] = reply
        return [self.answer(reply) for reply in replies]

    async def read(self, streams: dict[bytes, str], seconds: float) -> bool:
        """Block for up to ``seconds`` until a stream has an entry after its id. True if one has, or if this client closed."""

        async def call() -> Any:
            command = _blocking_read(streams, seconds)
            if self._connections is None:
                return await self._client.execute_command("XREAD", *command[1:])
            return await self._connections.send(encode_command(*command))

        try:
            return bool(await self._guard(call, seconds + self.timeout))
        except Outage:
            if self._closed:
                return True
            raise

    async def read_and_run(
        self, streams: dict[bytes, str], seconds: float, name: str, ref: ScheduleRef, /, **arguments: Any
    ) -> tuple[Any, Any]:
        """:meth:`read`, then a script, which the server runs without a round trip between the two.

        Returns the result of the read (or its error reply, see :meth:`answer`) and that of :meth:`run_script`.
        """
        if (connections := self._connections) is None:
            return await self.read(streams, seconds), await self.run_script(name, ref, **arguments)
        found, read = script(name), encode_command(*_blocking_read(streams, seconds))
        behind = _call("EVALSHA", found.sha, keys(ref.prefix), self._packed(arguments))

        async def call() -> tuple[Any, Any]:
            seen, reply = await connections.send_both(read, behind)
            if isinstance(reply, Exception) and not isinstance(reply, NoScriptError):
                raise reply
            return seen, reply

        seen, reply = await self._guard(call, seconds + self.timeout) or (None, None)
        return seen, await self.run_script(name, ref, **arguments) if isinstance(reply, NoScriptError) else reply

    async def scan(self, pattern: str, field: str, most: int) -> list[tuple[Any, Any]]:
        """(key, value of the field) of up to ``most`` hashes whose keys match. Keys and values that are too long are skipped."""

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
        if self._connections is None:
            return await self._client.execute_command(command, what, len(names), *names, given)
        return await self._connections.send(_call(command, what, names, given))

    def _tail(self, ref: ScheduleRef, arguments: dict[str, Any]) -> tuple[Any, ...]:
        names = keys(ref.prefix)
        return (len(names), *names, self._packed(arguments))

    def _packed(self, arguments: dict[str, Any]) -> bytes:
        given = {name: value for name, value in arguments.items() if value is not None}
        if self.clock is not None:
            given["now"] = self.clock()
        return pack(given)

    def answer(self, reply: Any) -> Any:
        """The reply. None where the consumer group is gone. Raises ``Outage`` for an error reply."""
        if not isinstance(reply, Exception):
            return reply
        if is_no_group(reply):
            return None
        raise outage(reply, self._target.where) from reply

    def decode_reply(self, read: Callable[[Any], T], reply: Any) -> T:
        """The reply, decoded by ``read``. Raises ``Damaged`` where Kubesweep did not write what is in it."""
        try:
            return read(reply)
        except UNREADABLE as error:
            raise damaged(error, self._target.where) from error

    async def _guard(self, call: Callable[[], Awaitable[Any]], seconds: float | None = None) -> Any:
        """Await ``call`` for up to ``seconds`` (default the URL's socket_timeout). None where the consumer group is gone."""
        if self._closed:
            raise Outage("QueueClosed", f"queue {self._target.where}: this process closed it. Open it again")
        try:
            async with asyncio.timeout(seconds or self.timeout):
                return await call()
        except ERRORS as error:
            if is_no_group(error):
                return None
            met = outage(error, self._target.where)
            if met.reason == "QueueReadOnly" and self._connections is not None:
                # A primary that became a replica keeps its connections, which would return this error for ever.
                await self._connections.close_idle()
            elif met.reason == "QueueTimeout" and self._connections is None:
                # Another node may have replaced a silent one. A cluster client finds it only after it reconnects.
                await close_client(self._client)
            raise met from error
