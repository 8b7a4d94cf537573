"""Queue credentials of a namespace: what they reach, when they are replaced, and which permissions the controller needs."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from kubesweep.errors import Outage
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Limits, OpenResult, ScheduleRef, SweepState
from kubesweep.queue.redis.scripts import keys
from kubesweep_controller.queue.credentials import SUSPECT_SECONDS
from kubesweep_controller.queue.tenants import MEASURE_SECONDS
from kubesweep_controller.queue.users import known_users
from tests.integration.tenants import (
    ENDLESS,
    EVIL,
    GOOD,
    INSTALL,
    SHARE,
    SharedQueue,
    ended,
    fill,
    pair,
    shared_queue,
    tenant_server,
)
from tests.kits.servers import Server, binaries, cluster


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    yield from tenant_server(request.param)


@pytest.fixture
async def shared(server: Server) -> SharedQueue:
    return await shared_queue(server)


async def test_no_two_users_have_one_name_whatever_the_namespace_is_called(shared: SharedQueue) -> None:
    odd = ScheduleRef(INSTALL, "keda", "carts", EVIL.uid)
    shared.cluster.uids["keda"] = "3"
    await shared.serve(odd)
    assert await shared.sweeps(odd, 1.0) is OpenResult.ENQUEUED
    with shared.client("keda", keda=True) as client:
        assert client.xlen(f"{odd.prefix}:work") == 1
    assert len(await known_users(shared.url)) == 1 + 2 * 3
    credentials = [shared.credentials.derive(namespace) for namespace in ("evil", "good", "keda")]
    assert len({word for one in credentials for word in (one.password, one.keda_password)}) == 6


async def test_keda_of_one_namespace_asks_nothing_about_another(shared: SharedQueue) -> None:
    await shared.sweeps(GOOD, 1.0)
    with shared.client("evil", keda=True) as client:
        for command in (
            ("XLEN", f"{GOOD.prefix}:work"),
            ("EVAL", ENDLESS, 0),
            ("EVAL_RO", ENDLESS, 0),
            ("SCRIPT", "LOAD", ""),
        ):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)


async def test_a_namespaces_credentials_cannot_change_decisions_of_people(shared: SharedQueue) -> None:
    await shared.sweeps(EVIL, 1.0)
    root = connect(shared.url)
    await root.pause(EVIL, True)
    own = shared.credentials.derive("evil")
    queue = connect(f"redis://{own.user}:{own.password}@127.0.0.1:{shared.server.port}/0")
    for move in (queue.pause(EVIL, False), queue.forget(EVIL)):
        with pytest.raises(Outage) as refused:
            await move
        assert refused.value.reason == "QueueRights"
    assert (await queue.stats([EVIL]))[0].paused
    await root.pause(EVIL, False)
    [plan] = (await queue.claim(EVIL, "ann", 1, Limits())).jobs
    await queue.end_sweep(EVIL, plan, SweepState.AWAITING_APPROVAL, "ManyRows", "approve it")
    with pytest.raises(Outage):
        await queue.approve(EVIL)
    assert await queue.approved(EVIL) is None
    [stats] = await queue.stats([EVIL])
    assert (stats.ready, stats.sweep and stats.sweep.state) == (0, SweepState.AWAITING_APPROVAL)
    await root.pause(EVIL, True)
    control = f"control:{EVIL.prefix}"
    with shared.client("evil") as client:
        assert client.hget(control, "paused") == b"1"
        for command in (
            ("HSET", control, "paused", "0"),
            ("HDEL", control, "paused"),
            ("UNLINK", control),
            ("PEXPIRE", control, "1"),
            ("HSET", control, "approved", "any"),
            ("EVAL", "return redis.call('hset', ARGV[1], 'paused', '0')", 0, control),
            ("HGET", f"control:{GOOD.prefix}", "paused"),
        ):
            with pytest.raises(ResponseError, match=r"permission|can.t|ACL"):
                client.execute_command(*command)
        client.unlink(*keys(EVIL.prefix))  # a namespace can delete its own keys
    assert await shared.sweeps(EVIL, 2.0) is OpenResult.ENQUEUED
    assert (await root.stats([EVIL]))[0].paused, "but not a decision of a person"
    await queue.close()
    await root.close()


async def test_a_namespace_without_schedules_loses_its_credentials_until_it_has_one(shared: SharedQueue) -> None:
    before = pair(shared, "evil")
    shared.refs.remove(EVIL)
    shared.credentials.forget("evil", EVIL.name)
    await shared.tenants.check()
    assert not await known_users(shared.url) & {*before}
    shared.refs.append(EVIL)
    await shared.serve(EVIL)
    assert await shared.sweeps(EVIL, 1.0) is OpenResult.ENQUEUED


async def test_a_recreated_namespace_has_other_credentials_with_its_first_schedule(shared: SharedQueue) -> None:
    before = shared.credentials.derive("evil")
    written = len(shared.cluster.written)
    shared.cluster.uids["evil"] = "made again"
    again = ScheduleRef(INSTALL, "evil", EVIL.name, "another")
    await shared.serve(again)
    after = shared.credentials.derive("evil")
    assert len(shared.cluster.written) == written + 1
    assert (after.user, after.keda_user) == (before.user, before.keda_user)
    assert not {after.password, after.keda_password} & {before.password, before.keda_password}
    assert await shared.sweeps(again, 1.0) is OpenResult.ENQUEUED
    with pytest.raises((AuthenticationError, ResponseError)):
        redis.Redis(port=shared.server.port, username=before.user, password=before.password).ping()


async def lose_by_restart(shared: SharedQueue) -> None:
    shared.server.kill()
    shared.server.start()


async def lose_one(shared: SharedQueue) -> None:
    with shared.server.client() as client:
        client.execute_command("ACL", "DELUSER", *pair(shared, "evil"))


async def lose_one_of_keda(shared: SharedQueue) -> None:
    with shared.server.client() as client:
        client.execute_command("ACL", "DELUSER", pair(shared, "evil")[1])


@pytest.mark.parametrize(
    ("lose", "lost"),
    [(lose_by_restart, {"evil", "good"}), (lose_one, {"evil"}), (lose_one_of_keda, {"evil"})],
)
async def test_users_that_a_server_lost_without_an_outage_are_set_again_within_seconds(
    shared: SharedQueue, lose: Callable[[SharedQueue], Awaitable[None]], lost: set[str]
) -> None:
    await shared.tenants.check()
    assert shared.on_change == []
    await lose(shared)
    await shared.tenants.check()
    assert {*shared.on_change} == lost
    for ref in shared.refs:
        await shared.serve(ref)
        assert await shared.sweeps(ref, 1.0) is OpenResult.ENQUEUED
        with shared.client(ref.namespace, keda=True) as client:
            assert client.xlen(f"{ref.prefix}:work") == 1
    shared.on_change.clear()
    await shared.tenants.check()
    assert shared.on_change == []


@pytest.mark.parametrize("kind", sorted(binaries()))
async def test_users_that_one_node_of_a_cluster_lost_are_set_again(kind: str) -> None:
    with cluster(kind, requirepass="sesame", masterauth="sesame") as nodes:
        where = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        shared = SharedQueue(nodes[0], url=f"redis+cluster://:sesame@{where}")
        await shared.serve(GOOD)
        await shared.tenants.check()
        with nodes[2].client() as client:
            client.execute_command("ACL", "DELUSER", *pair(shared, "good"))
        await shared.tenants.check()
        assert shared.on_change == ["good"]
        await shared.serve(GOOD)
        with nodes[2].client() as client:
            assert {*pair(shared, "good")} <= {*client.acl_users()}


async def test_a_deleted_secret_is_restored_at_the_next_resync(shared: SharedQueue) -> None:
    written = len(shared.cluster.written)
    shared.now += SUSPECT_SECONDS
    await shared.credentials.ensure("evil", {"name": EVIL.name, "uid": EVIL.uid}, recheck=True)
    assert len(shared.cluster.written) == written + 1


PAGE = (Path(__file__).parents[2] / "docs" / "redis-acl.md").read_text().partition("## Controller\n")[2]


LEAST = PAGE.partition(">PASSWORD ")[2].partition("\n")[0].replace("INSTALL", INSTALL).split()


USERS, *LOOKS = (found.split() for found in re.findall(r"`(\+[^`]*)`", PAGE.partition("\n## ")[0]))


def least(server: Server, *rules: str) -> SharedQueue:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "least", "on", ">least", *LEAST, *rules)
    return SharedQueue(server, "least:least")


async def test_the_rules_of_the_page_are_enough_to_check_a_server(server: Server) -> None:
    shared = least(server, *USERS, *(rule for rules in LOOKS for rule in rules))
    for ref in shared.refs:
        await shared.serve(ref)
    fill(shared.client("evil"), f"{{ks:{INSTALL}/evil/x}}:y", 2 * SHARE)
    await shared.tenants.check()
    with pytest.raises(Outage, match="namespaceMemory"):
        await shared.serve(EVIL)
    attacker = shared.client("good")
    for on_change in (["evil"], ["evil", "good"]):
        await ended(shared, attacker)
        assert shared.on_change == on_change
    shared.refs.remove(EVIL)
    shared.credentials.forget("evil", EVIL.name)
    shared.now += MEASURE_SECONDS
    await shared.tenants.check()
    assert await known_users(shared.url) == {"default", "least", *pair(shared, "good")}


@pytest.mark.parametrize("missing", [rule for rules in LOOKS for rule in rules])
async def test_without_one_of_these_rules_only_its_part_is_skipped(server: Server, missing: str) -> None:
    shared = least(server, *USERS, *(rule for rules in LOOKS for rule in rules if rule != missing))
    for ref in shared.refs:
        await shared.serve(ref)
        assert await shared.sweeps(ref, 1.0) is OpenResult.ENQUEUED
    shared.refs.remove(EVIL)
    shared.credentials.forget("evil", EVIL.name)
    with shared.server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    await shared.tenants.check()
    await shared.serve(GOOD)
    assert shared.tenants.eviction_policy == ("" if missing == "+info" else "allkeys-lru")
    assert await known_users(shared.url) == {"default", "least", *pair(shared, "good")}
    measured = shared.metric("kubesweep_queue_memory_bytes", namespace="good") is not None
    assert measured is (missing not in ("+scan", "+memory|usage"))
