"""A tenant's own login may write what it likes to the keys of its own schedules. That is the trouble of those schedules alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubesweep.errors import Damaged, Outage
from kubesweep.queue.model import OpenSweep
from kubesweep.queue.redis import RedisQueue
from kubesweep.queue.redis_scripts import keys
from tests.integration.one_row import KINDS, PLAN, REFS, finish, start
from tests.servers import Server, shared

MINE, OTHER = REFS[0], REFS[1]
PLACES = [key.decode() for key in keys(MINE.prefix)]
pytestmark = KINDS


@pytest.fixture
async def queue(emptied: RedisQueue) -> RedisQueue:
    for ref in (MINE, OTHER):
        await start(emptied, ref)
        await finish(emptied, ref)
        await start(emptied, ref)
    return emptied


def as_string(client: Any, key: str) -> None:
    client.set(key, "x")


def as_list(client: Any, key: str) -> None:
    client.lpush(key, b"\xff\xfe")


def as_hash(client: Any, key: str) -> None:
    client.hset(key, mapping={"tick": "soon", "ids": "a b", "uid": "\x00", "a": "{", "SourceReady": "1e999 []"})


def as_sorted(client: Any, key: str) -> None:
    client.zadd(key, {"-": float("inf"), b"\xff": 1e300})


def as_stream(client: Any, key: str) -> None:
    client.xadd(key, {"x": "y"})


async def recovered(queue: RedisQueue) -> None:
    """What the controller does: look, and where that shows damage, begin without the keys."""
    try:
        await queue.stats([MINE])
        await queue.error_groups(MINE)
        await queue.open_sweep(MINE, OpenSweep(tick=2e9, plan=PLAN))
    except Damaged:
        await queue.forget(MINE)
        await queue.stats([MINE])
        await queue.open_sweep(MINE, OpenSweep(tick=2e9, plan=PLAN))


@pytest.mark.parametrize("write", [as_string, as_list, as_hash, as_sorted, as_stream])
@pytest.mark.parametrize("number", range(len(PLACES)))
async def test_a_key_of_another_type_is_that_schedules_damage(
    kind: str, queue: RedisQueue, number: int, write: Callable[[Any, str], None]
) -> None:
    with shared(kind).client() as client:
        client.delete(PLACES[number])
        write(client, PLACES[number])
    await recovered(queue)
    await finish(queue, OTHER)
    (stats,) = await queue.stats([OTHER])
    assert stats.sweep is not None
    assert stats.sweep.applied == 1


async def test_an_answer_has_no_value_that_is_longer_than_any_that_is_written(kind: str, queue: RedisQueue) -> None:
    large = "9" * 20_000_000
    with shared(kind).client() as client:
        for place in PLACES:
            if client.type(place) == "hash":
                client.hset(place, mapping=dict.fromkeys(("tick", "enqueued", "SourceReady", "Effect", "x"), large))
    (stats,) = await queue.stats([MINE])
    assert stats.last_tick is None
    assert len(repr(stats)) < 20_000
    await queue.error_groups(MINE)


VALUES = st.one_of(st.integers(-(2**70), 2**70).map(str), st.floats().map(str), st.text(max_size=20), st.just("1e400"))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(fields=st.dictionaries(st.sampled_from(["tick", "enqueued", "late", "paused", "cur", "origin", "ids"]), VALUES))
async def test_whatever_the_numbers_are_they_are_read_as_ones_that_have_a_meaning(
    kind: str, queue: RedisQueue, fields: dict[str, str]
) -> None:
    if not fields:
        return
    with shared(kind).client() as client:
        client.hset(PLACES[0], mapping={name: value.encode("utf-8", "surrogatepass") for name, value in fields.items()})
    try:
        (stats,) = await queue.stats([MINE])
    except Damaged:
        return
    assert stats.last_tick is None or 0 <= stats.last_tick <= 253_402_300_799
    assert all(0 <= each <= 2**53 for each in (stats.ticks.enqueued, stats.ticks.late))


async def test_keys_that_name_no_schedule_are_left_alone(kind: str, queue: RedisQueue) -> None:
    with shared(kind).client() as client:
        for odd in (
            "{ks:local/default/a/b/c}:meta",
            b"{ks:\xff/x/y/z}:meta",
            "{ks:}:meta",
            "{ks:a/b/c}:meta",
            "{ks://///}:meta",
        ):
            client.hset(odd, "uid", "x")
        client.hset("{ks:local/default/long/aaaa}:meta", "uid", "u" * 1_000_000)
        client.hset("{ks:local/default/bytes/aaaa}:meta", "uid", b"\xff")
        client.set("{ks:local/default/text/aaaa}:meta", "x")
        client.hset("{ks:local/default/" + "n" * 2_000 + "/aaaa}:meta", "uid", "x")
    assert await queue.schedules() == (MINE, OTHER)


async def test_a_server_that_is_away_is_no_damage(kind: str) -> None:
    server = Server(kind).start()
    queue = RedisQueue(server.url)
    await start(queue, MINE)
    server.kill()
    with pytest.raises(Outage) as met:
        await queue.stats([MINE])
    assert not isinstance(met.value, Damaged)
    await queue.close()
    server.remove()
