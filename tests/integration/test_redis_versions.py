"""Two versions use one queue: the record of a sweep may have fields that only one of them knows."""

from __future__ import annotations

import json
from typing import Any

from kubesweep.queue.model import StaleRows, SweepState
from kubesweep.queue.redis.queue import RedisQueue
from tests.integration.one_row import KINDS, REFS, finish, start
from tests.kits.servers import Server

REF = REFS[0]
SINCE = 1_700_000_000.125


def record(server: Server, change: dict[str, Any] | None = None, *without: str) -> dict[str, Any]:
    """The only sweep as it is stored, after the change."""
    key = f"{REF.prefix}:sweeps"
    with server.client() as client:
        ((name, raw),) = client.hgetall(key).items()
        stored = {
            field: value for field, value in {**json.loads(raw), **(change or {})}.items() if field not in without
        }
        client.hset(key, name, json.dumps(stored))
    return stored


@KINDS
async def test_a_program_that_does_not_know_a_field_leaves_it_in_the_record(
    redis_server: Server, emptied: RedisQueue
) -> None:
    """So a worker of an older version does not remove what a newer one recorded."""
    await start(emptied, REF)
    record(redis_server, {"later": {"numbers": [1, 2.5], "text": "x"}})
    await finish(emptied, REF)
    stored = record(redis_server)
    assert (stored["later"], stored["state"]) == ({"numbers": [1, 2.5], "text": "x"}, "Completed")
    (stats,) = await emptied.stats([REF])
    assert stats.sweep is not None
    assert stats.sweep.state is SweepState.COMPLETED


@KINDS
async def test_a_record_of_an_older_version_has_no_stale_rows_until_a_newer_worker_plans(
    redis_server: Server, emptied: RedisQueue
) -> None:
    await start(emptied, REF)
    assert not {"stale", "oldest", "unknown"} & record(redis_server).keys()
    (stats,) = await emptied.stats([REF])
    assert stats.sweep is not None
    assert (stats.sweep.stale, stats.sweep.oldest, stats.sweep.oldest_unknown) == (None, None, "")
    await emptied.record_stale(REF, stats.sweep.id, StaleRows(7, SINCE))
    await finish(emptied, REF)
    (stats,) = await emptied.stats([REF])
    assert stats.sweep is not None
    assert (stats.sweep.stale, stats.sweep.oldest) == (7, SINCE)
