"""Opening and closing connections to a parsed queue URL (see queue_url.py).

The client never repeats an operation by itself: only the caller knows whether that is safe. The protocol is RESP2, which
needs no HELLO, so the minimal rights of docs/redis-acl.md are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis, RedisCluster, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from kubesweep.queue.redis.queue_url import TIMEOUT, TIMEOUT_OPTIONS, PasswordFile, Target, parse

__all__ = [
    "TIMEOUT",
    "LeasedConnections",
    "PasswordFile",
    "Target",
    "close_client",
    "encode_command",
    "open_client",
    "parse",
    "servers",
]


def open_client(target: Target) -> Any:
    """A redis-py client. It connects at its first command.

    The caller must limit the time of an answer. With a limit of its own, redis-py writes under ``asyncio.wait_for``, which
    on Python 3.11 can swallow the cancellation of the calling task.
    """
    options = dict(target.options)
    options.update(protocol=2, driver_info=None, socket_timeout=None)
    if target.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in target.hosts]
        options.pop("db")
        if target.tls:
            options["ssl"] = True
        # Keep the names of the URL as startup nodes: in Kubernetes the addresses of all nodes may change.
        options["dynamic_startup_nodes"] = False
        return RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 1), **options)
    options["retry"] = Retry(NoBackoff(), 0)
    if target.kind == "sentinel":
        tls = {"ssl": True} if target.tls else {}
        # An answer comes in time even if all Sentinels but one are silent.
        per_sentinel = target.timeout / (len(target.hosts) + 1)
        limits = dict.fromkeys(TIMEOUT_OPTIONS, per_sentinel)
        sentinel_options = {**limits, "retry": options["retry"], "protocol": 2, **tls}
        trust = {name: value for name, value in options.items() if name.startswith("ssl_")}
        make: Any = Sentinel  # redis-py leaves it untyped
        sentinel = make(
            list(target.hosts), sentinel_kwargs={**sentinel_options, **trust, **target.sentinel}, **options, **tls
        )
        return sentinel.master_for(target.path)
    if target.kind == "socket":
        return Redis(connection_pool=ConnectionPool(UnixDomainSocketConnection, path=target.path, **options))
    [(host, port)] = target.hosts
    options.update(host=host, port=port)
    if target.tls:
        return Redis(connection_pool=ConnectionPool(SSLConnection, **options))
    return Redis(connection_pool=ConnectionPool(**options))


def encode_command(*words: bytes, more: int = 0) -> bytes:
    """A command in the server's protocol. ``more`` is the number of words that the caller appends."""
    return b"*%d\r\n" % (len(words) + more) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class LeasedConnections:
    """Connections of a client that is not for a cluster, each used by one request at a time.

    redis-py's own way adds metrics, events and retries, which take half of the time of a short operation.
    """

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._free: list[Any] = []  # in use for the pool, which closes them with all others

    async def send(self, command: bytes) -> Any:
        """The reply to one command. Raises an error reply."""
        connection = await self._take()
        try:
            await connection.send_packed_command(command)
            return await connection.read_response()
        finally:
            self._free.append(connection)

    async def send_both(self, blocking: bytes, behind: bytes) -> tuple[Any, Any]:
        """The replies to two commands on one connection; an error reply is returned as a value.

        The first command blocks, and the server runs the second one as soon as the first one ends.
        """
        connection = await self._take()
        try:
            await connection.send_packed_command(blocking + behind)
            return await _reply(connection), await _reply(connection)
        finally:
            self._free.append(connection)

    async def close_idle(self) -> None:
        """Close the idle connections: the address may lead to another server now."""
        free, self._free = self._free, []
        for connection in free:
            await self._pool.release(connection)
        await self._pool.disconnect(inuse_connections=False)

    async def _take(self) -> Any:
        if not self._free:
            return await self._pool.get_connection()
        connection = self._free.pop()
        try:
            await self._pool.ensure_connection(connection)  # the server may have closed it
        except BaseException:
            await self._pool.release(connection)
            raise
        return connection


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


async def close_client(client: Any) -> None:
    """Close a client and all its connections, including those that a cancelled command left open."""
    if isinstance(client, RedisCluster):
        await client.aclose()
        return
    await client.aclose(close_connection_pool=True)
    if isinstance(client.connection_pool, SentinelConnectionPool):
        for sentinel in client.connection_pool.sentinel_manager.sentinels:
            await sentinel.aclose()


async def servers(target: Target) -> tuple[list[Target], list[Target]]:
    """The servers of a queue, each as a target: the primaries, and their replicas."""
    if target.kind not in ("sentinel", "cluster"):
        return [target], []
    client = open_client(target)
    try:
        if target.kind == "cluster":
            await client.initialize()
            primaries = [(node.host, node.port) for node in client.get_primaries()]
            replicas = [(node.host, node.port) for node in client.get_replicas()]
        else:
            sentinel = client.connection_pool.sentinel_manager
            primaries = [await sentinel.discover_master(target.path)]
            replicas = await sentinel.discover_slaves(target.path)
    finally:
        await close_client(client)

    def each(found: Sequence[tuple[str, int]]) -> list[Target]:
        return [target._replace(kind="server", hosts=(host,)) for host in found]

    return each(primaries), each(replicas)
