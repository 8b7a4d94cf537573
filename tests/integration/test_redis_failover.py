"""Queues of several servers: schedules on every node of a cluster, and what happens when a server or a Sentinel is gone."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisClusterException

from kubesweep.errors import Outage
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Settlement
from kubesweep.queue.redis.errors import outage
from tests.integration.one_row import KINDS, LIMITS, PLAN, REFS, finish, start
from tests.kits.proxy import Proxy
from tests.kits.servers import Server, cluster, fail_over, free_port, sentinel

SLOTS = 16384
TRIES = 12  # each may meet the dead server first


async def sooner_or_later(operation: Callable[[], Awaitable[Any]]) -> Any:
    """What a worker does: it asks again after each outage."""
    for left in reversed(range(TRIES)):
        try:
            return await operation()
        except Outage:
            if not left:
                raise
    raise AssertionError


def copied(client: Any, key: str = "copied") -> None:
    """Return when the replica has all data of the server. WAIT counts from this connection's own last write."""
    client.set(key, 1)
    assert client.execute_command("WAIT", 1, 5000) == 1


@KINDS
async def test_a_cluster_spreads_schedules_and_keeps_each_on_one_node(kind: str) -> None:
    with cluster(kind) as nodes:
        queue = connect(f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}")
        for ref in REFS:
            await start(queue, ref)
        assert [stats.ready for stats in await queue.stats(REFS)] == [1] * len(REFS)
        assert await queue.schedules() == tuple(sorted(REFS))
        for ref in REFS:
            await queue.wait(ref, 10.0)
            await finish(queue, ref)
            await queue.enqueue_check(ref, PLAN)
            (check,) = (await queue.claim_next(ref, "ann", 1, LIMITS, 10.0)).jobs
            await queue.settle(ref, "ann", [Settlement(check)], 0, LIMITS)
        spread = []
        for server in nodes:
            with server.client() as client:
                spread.append(client.dbsize())
        assert min(spread) > 0
        await queue.close()


@KINDS
async def test_a_cluster_whose_nodes_all_have_other_addresses_is_found_by_its_name(kind: str) -> None:
    with cluster(kind) as later, cluster(kind) as nodes:
        async with Proxy(nodes[0].port) as name:
            queue = connect(name.url.replace("redis://", "redis+cluster://"))
            await start(queue, REFS[0])
            for node in nodes:
                node.kill()
            name.to = later[0].port
            name.hang_up()
            await sooner_or_later(partial(start, queue, REFS[0]))
            await finish(queue, REFS[0])
            await queue.close()


@KINDS
async def test_the_replica_of_a_node_that_falls_silent_serves_its_schedules(kind: str) -> None:
    with cluster(kind, replicas=1) as (silent, *others, replica):
        addresses = ",".join(f"127.0.0.1:{node.port}" for node in (silent, *others))
        queue = connect(f"redis+cluster://{addresses}?socket_timeout=2")
        for ref in REFS:
            await start(queue, ref)
        with silent.client() as client, replica.client() as asked:
            mine = [ref for ref in REFS if key_slot(ref.prefix.encode()) < SLOTS // 3]
            copied(client, mine[0].prefix)
            assert mine
            with silent.frozen():
                assert asked.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
                for ref in mine:
                    await sooner_or_later(partial(finish, queue, ref))
        await queue.close()


@KINDS
async def test_sentinel_leads_to_the_new_primary_after_a_failover(kind: str) -> None:
    with sentinel(kind) as (primary, _, watcher):
        queue = connect(f"redis+sentinel://127.0.0.1:{watcher.port}/main")
        await start(queue, REFS[0])
        with primary.client() as client:
            copied(client)
        primary.kill()
        with pytest.raises(Outage) as down:
            await queue.claim(REFS[0], "ann", 1, LIMITS)
        assert down.value.reason == "QueueUnreachable"
        fail_over(watcher)
        await finish(queue, REFS[0])
        await queue.close()


@KINDS
async def test_a_primary_that_became_a_replica_is_left(kind: str) -> None:
    with sentinel(kind) as (primary, replica, watcher):
        queue = connect(f"redis+sentinel://127.0.0.1:{watcher.port}/main")
        await start(queue, REFS[0])
        with primary.client() as client:
            copied(client)
            fail_over(watcher)
            client.replicaof("127.0.0.1", replica.port)  # as the Sentinel does some seconds later
        await sooner_or_later(partial(finish, queue, REFS[0]))
        await queue.close()


@KINDS
async def test_sentinels_that_are_gone_or_silent_are_passed_over(kind: str) -> None:
    with sentinel(kind) as (_, _, watcher):
        silent = Server(kind).start()
        with silent.frozen(), socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
            full = socket.create_connection(deaf.getsockname())  # it is never accepted, so the next one waits
            ports = (free_port(), deaf.getsockname()[1], silent.port, watcher.port)
            queue = connect(f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/main")
            await start(queue, REFS[0])
            await finish(queue, REFS[0])
            await queue.close()
            full.close()
        silent.remove()


@KINDS
async def test_a_slot_that_moves_to_another_node_keeps_its_schedule(kind: str) -> None:
    slot = key_slot(REFS[0].prefix.encode())
    with cluster(kind) as nodes:
        queue = connect(f"redis+cluster://127.0.0.1:{nodes[0].port}")
        await start(queue, REFS[0])
        source = nodes[slot * len(nodes) // SLOTS]
        target = next(node for node in nodes if node is not source)
        with source.client() as giver, target.client() as taker:
            there, here = (client.execute_command("CLUSTER", "MYID") for client in (giver, taker))
            taker.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", there)
            giver.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", here)
            first, *rest = giver.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
            giver.migrate("127.0.0.1", target.port, [first], 0, 5000)
            with pytest.raises(Outage) as moving:
                await queue.claim(REFS[0], "ann", 5, LIMITS)
            assert moving.value.reason == "QueueCluster"
            giver.migrate("127.0.0.1", target.port, rest, 0, 5000)
            for client in (taker, giver):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", here)
        await finish(queue, REFS[0])
        await queue.close()


def test_an_outage_does_not_tell_the_words_of_a_command() -> None:
    error = RedisClusterException("No way to dispatch this command.\nCommand: ('SETUSER', 'ks', '#5e884898')")
    said = str(outage(error, "redis+cluster://queue"))
    assert "No way to dispatch this command." in said
    assert "5e884898" not in said
