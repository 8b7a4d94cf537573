"""What one namespace does to the shared queue is limited to that namespace: real servers, real credentials, a hostile client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from kubesweep.errors import Outage
from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, ScheduleRef
from kubesweep.queue.redis.connections import encode_command, parse
from kubesweep_controller.queue.memory import delete_unserved, shrink
from kubesweep_controller.queue.tenants import MEASURE_SECONDS, REVOKED_SECONDS
from kubesweep_controller.queue.users import known_users
from tests.integration.tenants import (
    ENDLESS,
    EVIL,
    GOOD,
    INSTALL,
    SHARE,
    SharedQueue,
    busy,
    ended,
    endless,
    fill,
    pair,
    shared_queue,
    tenant_server,
)
from tests.kits.servers import Server, binaries, chart_settings, cluster, until


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    yield from tenant_server(request.param)


@pytest.fixture
async def shared(server: Server) -> SharedQueue:
    return await shared_queue(server)


async def test_a_script_without_an_end_is_ended(shared: SharedQueue) -> None:
    await shared.tenants.check()
    running = endless(shared.client("evil"), ENDLESS)
    until(lambda: busy(shared))
    with pytest.raises(Outage) as met:
        await shared.tenants.check()
    assert met.value.reason == "QueueBusy"
    assert await shared.sweeps(GOOD, 1.0) is OpenResult.ENQUEUED
    assert shared.metric("kubesweep_queue_scripts_killed_total") == 1
    await asyncio.to_thread(running.join)
    await shared.tenants.check()


async def test_a_namespace_that_sends_such_a_script_again_loses_its_credentials_for_a_while(
    shared: SharedQueue,
) -> None:
    attacker = shared.client("evil")
    for on_change in ([], ["evil"]):
        await ended(shared, attacker)
        assert shared.on_change == on_change
    with pytest.raises(ResponseError):
        attacker.eval("return 1", 0)
    with pytest.raises(Outage) as refused:
        await shared.serve(EVIL)
    assert refused.value.reason == "QueueScript"
    assert await shared.sweeps(GOOD, 1.0) is OpenResult.ENQUEUED
    shared.now += REVOKED_SECONDS
    await shared.tenants.check()
    await shared.serve(EVIL)
    assert await shared.sweeps(EVIL, 1.0) is OpenResult.ENQUEUED


async def test_a_script_that_has_written_is_reported_and_not_counted_as_killed(
    shared: SharedQueue, caplog: pytest.LogCaptureFixture
) -> None:
    running = endless(shared.client("evil"), "redis.call('hset', KEYS[1], 'a', 'b') " + ENDLESS, f"{EVIL.prefix}:meta")
    until(lambda: busy(shared))
    with pytest.raises(Outage):
        await shared.tenants.check()
    assert "only a restart of the server ends it" in caplog.text
    assert shared.metric("kubesweep_queue_scripts_killed_total") == 0
    shared.server.kill()
    await asyncio.to_thread(running.join)


async def test_a_namespace_above_its_share_loses_its_credentials_and_the_excess(shared: SharedQueue) -> None:
    await shared.sweeps(EVIL, 1.0)
    await shared.sweeps(GOOD, 1.0)
    attacker = shared.client("evil")
    fill(attacker, f"{{ks:{INSTALL}/evil/x}}:y", 3 * SHARE)
    await shared.tenants.check()
    assert (shared.metric("kubesweep_queue_memory_bytes", namespace="evil") or 0) > 3 * SHARE
    assert 0 < (shared.metric("kubesweep_queue_memory_bytes", namespace="good") or 0) < SHARE
    with pytest.raises(NoPermissionError):
        fill(attacker, f"{{ks:{INSTALL}/evil/x}}:y", SHARE)
    with pytest.raises((AuthenticationError, ResponseError)):
        shared.client("evil").hget(f"{EVIL.prefix}:meta", "uid")
    with pytest.raises(Outage, match=r"evil used \d MiB, more than queue.namespaceMemory \(1 MiB\)") as refused:
        await shared.serve(EVIL)
    assert refused.value.reason == "QueueMemory"
    assert shared.on_change == ["evil"]
    with shared.server.client() as client:
        assert client.exists(f"{EVIL.prefix}:meta"), "its own schedule's keys were not too much"
        assert not client.exists(f"{{ks:{INSTALL}/evil/x}}:y")
    await shared.serve(GOOD)
    assert await shared.sweeps(GOOD, 2.0) is OpenResult.FORBIDDEN

    shared.now += REVOKED_SECONDS
    await shared.tenants.check()
    assert shared.on_change == ["evil", "evil"]
    await shared.serve(EVIL)
    assert await shared.sweeps(EVIL, 2.0) is OpenResult.FORBIDDEN
    attacker.close()


async def test_large_entries_among_many_small_ones_are_counted(shared: SharedQueue) -> None:
    with shared.client("evil") as client:
        client.hset(f"{EVIL.prefix}:excluded", mapping={f"f{number}": "x" * 70 for number in range(3000)})
        fill(client, f"{EVIL.prefix}:excluded", 2 * SHARE)
    await shared.tenants.check()
    assert (shared.metric("kubesweep_queue_memory_bytes", namespace="evil") or 0) > 2 * SHARE


async def test_schedules_that_exceed_the_share_themselves_start_again_largest_first(shared: SharedQueue) -> None:
    small = ScheduleRef(INSTALL, "evil", "small", EVIL.uid)
    shared.refs.append(small)
    for ref in (EVIL, small):
        await shared.sweeps(ref, 1.0)
    with shared.client("evil") as client:
        fill(client, f"{EVIL.prefix}:excluded", 2 * SHARE)
    await shared.tenants.check()
    root = connect(shared.url)
    assert [stats.known for stats in await root.stats([EVIL, small])] == [False, True]
    await root.close()


async def test_keys_of_namespaces_without_schedules_are_counted_and_deleted_together(shared: SharedQueue) -> None:
    with shared.client("evil") as client:
        fill(client, f"{{ks:{INSTALL}/evil/x}}:y", 2 * SHARE)
    shared.refs.remove(EVIL)
    shared.credentials.forget("evil", EVIL.name)
    await shared.tenants.check()
    with shared.server.client() as client:
        assert not client.exists(f"{{ks:{INSTALL}/evil/x}}:y")
    assert shared.metric("kubesweep_queue_memory_bytes", namespace="evil") is None
    assert await known_users(shared.url) == {"default", *pair(shared, "good")}
    assert shared.on_change == []


async def test_memory_that_runs_short_is_summed_up_at_once(shared: SharedQueue) -> None:
    with shared.server.client() as client:
        client.config_set("maxmemory", "24mb")
        await shared.tenants.check()
        with shared.client("evil") as evil:
            fill(evil, f"{{ks:{INSTALL}/evil/x}}:y", 2 * SHARE)
            await shared.tenants.check()
            assert client.exists(f"{{ks:{INSTALL}/evil/x}}:y"), "no memory is missing, and a minute is not over"
            fill(evil, f"{{ks:{INSTALL}/evil/x}}:y2", 12 * SHARE)
        shared.now += MEASURE_SECONDS / 10
        await shared.tenants.check()
        assert not client.exists(f"{{ks:{INSTALL}/evil/x}}:y2")
    assert await shared.sweeps(GOOD, 1.0) is OpenResult.ENQUEUED


def answered(client: Any, scripts: int) -> bool:
    return bool(client.info("commandstats").get("cmdstat_eval", {}).get("calls") == scripts)


@pytest.mark.parametrize("kind", sorted(binaries()))
async def test_unread_responses_do_not_fill_the_memory_of_a_server_configured_like_the_charts(
    kind: str,
) -> None:
    made = Server(kind, requirepass="sesame", **(chart_settings() | {"maxmemory": "64mb"}))
    made.login = {"password": "sesame"}
    made.start()
    try:
        shared = SharedQueue(made)
        for ref in shared.refs:
            await shared.serve(ref)
        own = shared.credentials.derive("evil")
        requests = encode_command(b"AUTH", own.user.encode(), own.password.encode())
        requests += encode_command(b"EVAL", b"return string.rep('x', 2^25)", b"0")
        lines = [socket.create_connection(("127.0.0.1", made.port)) for _ in range(4)]
        with made.client() as client:
            for count, line in enumerate(lines, 1):
                line.sendall(requests)
                until(partial(answered, client, count))
            assert await shared.sweeps(GOOD, 1.0) is OpenResult.ENQUEUED
            assert client.info("stats")["evicted_clients"] > 0
        for line in lines:
            line.close()
    finally:
        made.remove()


async def test_a_server_that_evicts_is_reported(shared: SharedQueue) -> None:
    await shared.tenants.check()
    assert shared.tenants.eviction_policy == ""
    with shared.server.client() as client:
        client.config_set("maxmemory-policy", "volatile-lru")
    await shared.tenants.check()
    assert shared.tenants.eviction_policy == "volatile-lru"


@pytest.mark.parametrize("kind", sorted(binaries()))
async def test_in_a_cluster_each_key_is_deleted_where_it_is(kind: str) -> None:
    with cluster(kind, requirepass="sesame") as nodes:
        names = [ScheduleRef(INSTALL, "evil", f"carts-{number}", EVIL.uid) for number in range(6)]
        targets = [parse(node.root_url) for node in nodes]
        with redis.RedisCluster(host="127.0.0.1", port=nodes[0].port, password="sesame") as client:
            for number, ref in enumerate(names):
                client.hset(f"{ref.prefix}:meta", "uid", "x" * SHARE if number < 3 else "x")
                client.hset(f"{{ks:{INSTALL}/evil/x{number}}}:y", "a", "b")
            await shrink(targets, INSTALL, "evil", names, SHARE)
            assert [client.exists(f"{ref.prefix}:meta") for ref in names] == [0, 0, 0, 1, 1, 1]
            assert not any(client.exists(f"{{ks:{INSTALL}/evil/x{number}}}:y") for number in range(6))
            await delete_unserved(targets[0], INSTALL, {"evil"})
            for target in targets:
                await delete_unserved(target, INSTALL, ())
            assert not any(client.exists(f"{ref.prefix}:meta") for ref in names)
