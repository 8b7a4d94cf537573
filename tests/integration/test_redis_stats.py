"""Statistics of a thousand schedules take one round trip: no answer is delivered before the last request was sent."""

from __future__ import annotations

import asyncio

import pytest

from kubesweep.queue.model import PlanVersion, ScheduleRef, SweepRequest
from kubesweep.queue.redis.queue import RedisQueue
from tests.kits.deadlines import scaled
from tests.kits.proxy import Withholding
from tests.kits.servers import binaries, shared

SCHEDULES = 1000


@pytest.mark.parametrize("kind", sorted(binaries()))
async def test_the_stats_of_a_thousand_schedules_are_one_round_trip(kind: str) -> None:
    server = shared(kind)
    refs = [ScheduleRef.local("default", f"s{number}") for number in range(SCHEDULES)]
    with server.client() as client:
        client.flushall()
        async with Withholding(server.port) as proxy:
            queue = RedisQueue(proxy.url)
            for ref in refs[::10]:
                await queue.open_sweep(ref, SweepRequest(tick=1.0, plan=PlanVersion(1, "aaaa")))
            await queue.stats(refs[:1])
            client.config_resetstat()
            proxy.open.clear()
            asked = asyncio.create_task(queue.stats(refs))
            async with asyncio.timeout(scaled(60)):
                while client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0) < SCHEDULES:  # noqa: ASYNC110  the server sends no event
                    await asyncio.sleep(0)
            assert not asked.done()
            proxy.open.set()
            stats = await asked
            await queue.close()
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert (len(stats), calls) == (SCHEDULES, SCHEDULES)
    assert [one.known for one in stats] == [number % 10 == 0 for number in range(SCHEDULES)]
