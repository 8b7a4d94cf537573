"""A worker with many jobs at once asks for many things at once; the server still sees few connections."""

from __future__ import annotations

import asyncio

from kubesweep.queue.model import ExcludedRows, ScheduleRef
from kubesweep.queue.redis.client import MAX_CONCURRENT
from kubesweep.queue.redis.queue import RedisQueue
from tests.kits.servers import Server, binaries

REF = ScheduleRef.local("default", "crowd")


async def test_three_hundred_operations_at_once_share_few_connections() -> None:
    server = Server(next(iter(binaries()))).start()
    queue = RedisQueue(server.url)
    try:
        answers = await asyncio.gather(*(queue.excluded(REF) for _ in range(300)))
        assert answers == [ExcludedRows(0, frozenset())] * 300
        with server.client() as client:
            assert client.info("stats")["total_connections_received"] <= MAX_CONCURRENT + 5
    finally:
        await queue.close()
        server.remove()
