"""A tenant's credentials can write anything to the keys of its own schedules. Only these schedules are affected."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubesweep.errors import Damaged, Outage
from kubesweep.queue.model import HISTORY, MESSAGE, SweepRequest
from kubesweep.queue.redis.error_groups import GROUPS
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep.queue.redis.scripts import keys
from tests.integration.one_row import KINDS, LIMITS, PLAN, REFS, finish, start
from tests.kits.servers import Server, shared

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
    """What the controller does: read the statistics, and if they are damaged, delete the keys."""
    try:
        await queue.stats([MINE])
        await queue.error_groups(MINE)
        await queue.open_sweep(MINE, SweepRequest(tick=2e9, plan=PLAN))
    except Damaged:
        await queue.forget(MINE)
        await queue.stats([MINE])
        await queue.open_sweep(MINE, SweepRequest(tick=2e9, plan=PLAN))


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
@given(
    fields=st.dictionaries(
        st.sampled_from(["tick", "enqueued", "late", "paused", "pauses", "cur", "origin", "ids"]), VALUES
    )
)
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
    assert 0 <= stats.unpaused_seconds(0.0, 1e9) <= 1e9
    await queue.pause(MINE, True)
    assert (await queue.stats([MINE]))[0].paused_since is not None


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


async def test_retries_without_end_are_damage(kind: str, queue: RedisQueue) -> None:
    with shared(kind).client() as client:
        for first in range(0, 101_000, 1000):
            members = [f"s h 0 1 1 {number}\n{{}}" for number in range(first, first + 1000)]
            client.zadd(PLACES[5], dict.fromkeys(members, 4e9))
    with pytest.raises(Damaged, match="more retries than a"):
        await queue.stats([MINE])
    await queue.forget(MINE)
    await finish(queue, OTHER)


async def test_more_leases_than_jobs_are_no_number_below_zero(kind: str, queue: RedisQueue) -> None:
    """The API server refuses a status that has one, whatever else it says."""
    with shared(kind).client() as client:
        client.zadd(PLACES[3], {f"{number}-1": 4e9 for number in range(50)})
    (stats,) = await queue.stats([MINE])
    assert (stats.ready, stats.running) == (0, 50)


def dead_letters_of_many_attempts(kind: str, rows: int) -> int:
    """Each as long as any that is read, and as many entries as fit. How many bytes they are."""
    record = '{"s":"x","a":[' + ",".join(['[1,"",""]'] * 26_000) + "]}"
    excluded, dead = PLACES[6], PLACES[7]
    with shared(kind).client() as client:
        for number in range(rows):
            client.hset(excluded, f'["{number}"]', record)
            client.zadd(dead, {f'["{number}"]': -number})
    return rows * len(record)


async def test_one_sweep_that_is_named_often_is_answered_a_few_times(kind: str, queue: RedisQueue) -> None:
    with shared(kind).client() as client:
        (name,) = client.hget(PLACES[0], "ids").split()[:1]
        client.hset(PLACES[0], "ids", " ".join([name] * 50))
    (stats,) = await queue.stats([MINE])
    assert stats.sweep is not None
    assert len(stats.history) == HISTORY


async def test_what_is_read_of_dead_letters_is_in_memory_a_page_at_a_time(kind: str, queue: RedisQueue) -> None:
    size = dead_letters_of_many_attempts(kind, 40)
    assert size > 10_000_000
    tracemalloc.start()
    try:
        (group,) = await queue.error_groups(MINE)
        assert await queue.replay(MINE) == 40
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (group.error, group.count) == ("", 40)
    assert len(group.samples) == 3
    assert peak < size
    (stats,) = await queue.stats([MINE])
    assert stats.dead == 0


async def test_all_dead_letters_are_purged_however_long_they_are(kind: str, queue: RedisQueue) -> None:
    dead_letters_of_many_attempts(kind, 40)
    assert await queue.purge(MINE) == 40
    (stats,) = await queue.stats([MINE])
    assert (stats.dead, stats.excluded) == (0, 0)


async def test_a_sweep_that_is_longer_than_any_is_not_read_as_a_table(kind: str, queue: RedisQueue) -> None:
    with shared(kind).client() as client:
        (name,) = client.hget(PLACES[0], "ids").split()[:1]
        client.hset(PLACES[2], name, '{"id":' + "[" * 500 + "]" * 500 + ',"x":[' + ",".join(["[]"] * 100_000) + "]}")
    with pytest.raises(Damaged, match="a sweep is too long"):
        await queue.open_sweep(MINE, SweepRequest(tick=2e9, plan=PLAN))


async def test_only_some_of_very_many_error_classes_are_shown(kind: str, queue: RedisQueue) -> None:
    record = '{{"s":"x","a":[[1,"{0}",""]]}}'
    with shared(kind).client() as client:
        client.hset(PLACES[6], mapping={f'["{n}"]': record.format(f"e{n}" + "x" * 5000) for n in range(1200)})
        client.zadd(PLACES[7], {f'["{n}"]': -n for n in range(1200)})
    found = await queue.error_groups(MINE, most=10_000)
    assert len(found) == GROUPS
    assert max(len(each.error) for each in found) == MESSAGE


async def test_a_job_that_kubesweep_did_not_write_is_damage_for_the_worker_that_claims_it(
    kind: str, queue: RedisQueue
) -> None:
    with shared(kind).client() as client:
        for id_, fields in client.xrange(PLACES[1]):
            damaged = {name: entry.rpartition("{")[0] + "{" for name, entry in fields.items()}
            client.xdel(PLACES[1], id_)
            client.xadd(PLACES[1], damaged, id=f"{int(id_.partition('-')[0]) + 10**9}-0")
    with pytest.raises(Damaged, match="did not write"):
        await queue.claim(MINE, "ann", 10, LIMITS)
    await queue.forget(MINE)
    await finish(queue, OTHER)
