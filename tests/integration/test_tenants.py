"""What a namespace does to the queue stays its own trouble: real servers, real logins, and somebody who means harm."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from kubesweep.errors import Outage
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Limits, OpenResult, PlanVersion, ScheduleRef, SweepRequest, SweepState
from kubesweep.queue.redis.connections import encode_command, parse
from kubesweep.queue.redis.scripts import keys
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.credentials import SOON, Logins
from kubesweep_controller.queue.memory import delete_unserved, shrink
from kubesweep_controller.queue.tenants import MEASURE, OFF, Tenants
from kubesweep_controller.queue.users import known_users
from kubesweep_controller.settings import from_environment
from tests.kits.controller import Recorder
from tests.kits.servers import Server, binaries, cluster, until

INSTALL = "abcd1234"
EVIL = ScheduleRef(INSTALL, "evil", "carts", "8b5f6f0e-0000-4000-8000-000000000001")
GOOD = ScheduleRef(INSTALL, "good", "carts", "9b5f6f0e-0000-4000-8000-000000000002")
PLAN = PlanVersion(1, "aaaa")
SHARE = 2**20
ENDLESS = "while true do end"


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(request.param, **{"requirepass": "sesame", "busy-reply-threshold": "50"})
    made.login = {"password": "sesame"}
    made.start()
    yield made
    made.remove()


class Cluster(Recorder):
    """Namespaces, each with a uid."""

    def __init__(self) -> None:
        super().__init__()
        self.uids = {"evil": "1", "good": "2"}

    async def get(self, kind: Any, namespace: str | None, name: str) -> dict[str, Any] | None:
        return {"metadata": {"uid": self.uids[name]}} if name in self.uids else None


class World:
    """Two namespaces that a controller serves, and its clock. ``admin``: the controller's own login."""

    def __init__(self, server: Server, admin: str = ":sesame") -> None:
        self.server = server
        self.now = 1_800_000_000.0
        self.cluster = Cluster()
        settings = from_environment(
            {
                "KUBESWEEP_QUEUE": f"redis://{admin}@127.0.0.1:{server.port}/0",
                "KUBESWEEP_QUEUE_USERS": "per-namespace",
                "KUBESWEEP_NAMESPACE_MEMORY": "1Mi",
                "KUBESWEEP_WORKER_IMAGE": "worker:1",
                "POD_NAMESPACE": "kubesweep",
                "POD_NAME": "kubesweep-0",
            }
        )
        self.url = settings.queue_url
        self.metrics = Metrics()
        self.refs = [EVIL, GOOD]
        self.told: list[str] = []
        self.logins = Logins(settings, INSTALL, self.cluster, clock=self.clock)
        self.tenants = Tenants(
            settings,
            INSTALL,
            self.logins,
            self.metrics,
            lambda: {ref.namespace for ref in self.refs},
            lambda namespace: [ref for ref in self.refs if ref.namespace == namespace],
            self.told.append,
            clock=self.clock,
        )

    def clock(self) -> float:
        return self.now

    async def serve(self, ref: ScheduleRef) -> None:
        await self.logins.ensure(ref.namespace, {"name": ref.name, "uid": ref.uid})

    def client(self, namespace: str, keda: bool = False) -> redis.Redis:
        own = self.logins.login(namespace)
        user, password = (own.keda_user, own.keda_password) if keda else (own.user, own.password)
        return redis.Redis(port=self.server.port, username=user, password=password)

    async def sweeps(self, ref: ScheduleRef, tick: float) -> OpenResult:
        """Whether the namespace's own login still opens one."""
        own = self.logins.login(ref.namespace)
        queue = connect(f"redis://{own.user}:{own.password}@127.0.0.1:{self.server.port}/0")
        try:
            return (await queue.open_sweep(ref, SweepRequest(tick=tick, plan=PLAN))).answer
        finally:
            await queue.close()

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
async def world(server: Server) -> World:
    made = World(server)
    for ref in made.refs:
        await made.serve(ref)
    return made


async def test_no_two_users_have_one_name_whatever_the_namespace_is_called(world: World) -> None:
    odd = ScheduleRef(INSTALL, "keda", "carts", EVIL.uid)
    world.cluster.uids["keda"] = "3"
    await world.serve(odd)
    assert await world.sweeps(odd, 1.0) is OpenResult.ENQUEUED
    with world.client("keda", keda=True) as client:
        assert client.xlen(f"{odd.prefix}:work") == 1
    assert len(await known_users(world.url)) == 1 + 2 * 3
    logins = [world.logins.login(namespace) for namespace in ("evil", "good", "keda")]
    assert len({word for one in logins for word in (one.password, one.keda_password)}) == 6


async def test_keda_of_one_namespace_asks_nothing_about_another(world: World) -> None:
    await world.sweeps(GOOD, 1.0)
    with world.client("evil", keda=True) as client:
        for words in (
            ("XLEN", f"{GOOD.prefix}:work"),
            ("EVAL", ENDLESS, 0),
            ("EVAL_RO", ENDLESS, 0),
            ("SCRIPT", "LOAD", ""),
        ):
            with pytest.raises(NoPermissionError):
                client.execute_command(*words)


async def test_the_decisions_of_people_are_out_of_reach_of_a_namespaces_login(world: World) -> None:
    await world.sweeps(EVIL, 1.0)
    root = connect(world.url)
    await root.pause(EVIL, True)
    own = world.logins.login("evil")
    queue = connect(f"redis://{own.user}:{own.password}@127.0.0.1:{world.server.port}/0")
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
    with world.client("evil") as client:
        assert client.hget(control, "paused") == b"1"
        for words in (
            ("HSET", control, "paused", "0"),
            ("HDEL", control, "paused"),
            ("UNLINK", control),
            ("PEXPIRE", control, "1"),
            ("HSET", control, "approved", "any"),
            ("EVAL", "return redis.call('hset', ARGV[1], 'paused', '0')", 0, control),
            ("HGET", f"control:{GOOD.prefix}", "paused"),
        ):
            with pytest.raises(ResponseError, match=r"permission|can.t|ACL"):
                client.execute_command(*words)
        client.unlink(*keys(EVIL.prefix))  # its own work it can destroy
    assert await world.sweeps(EVIL, 2.0) is OpenResult.ENQUEUED
    assert (await root.stats([EVIL]))[0].paused, "but not what a person said of it"
    await queue.close()
    await root.close()


def endless(client: redis.Redis, script: str, *names: str) -> threading.Thread:
    """The script runs on the server, until somebody ends it."""

    def run() -> None:
        with pytest.raises((ResponseError, redis.exceptions.ConnectionError)):
            client.eval(script, len(names), *names)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def busy(world: World) -> bool:
    with world.server.client() as client:
        try:
            client.ping()
        except redis.exceptions.ResponseError as error:
            return "BUSY" in str(error)
    return False


async def ended(world: World, attacker: redis.Redis) -> None:
    """It sends a script without an end, and the controller ends that."""
    running = endless(attacker, ENDLESS)
    until(lambda: busy(world))
    with pytest.raises(Outage):
        await world.tenants.look()
    await asyncio.to_thread(running.join)


async def test_a_script_without_an_end_is_ended(world: World) -> None:
    await world.tenants.look()
    running = endless(world.client("evil"), ENDLESS)
    until(lambda: busy(world))
    with pytest.raises(Outage) as met:
        await world.tenants.look()
    assert met.value.reason == "QueueBusy"
    assert await world.sweeps(GOOD, 1.0) is OpenResult.ENQUEUED
    assert world.metric("kubesweep_queue_scripts_killed_total") == 1
    await asyncio.to_thread(running.join)
    await world.tenants.look()


async def test_who_sends_such_a_script_again_loses_its_logins_for_a_while(world: World) -> None:
    attacker = world.client("evil")
    for told in ([], ["evil"]):
        await ended(world, attacker)
        assert world.told == told
    with pytest.raises(ResponseError):
        attacker.eval("return 1", 0)
    with pytest.raises(Outage) as refused:
        await world.serve(EVIL)
    assert refused.value.reason == "QueueScript"
    assert await world.sweeps(GOOD, 1.0) is OpenResult.ENQUEUED
    world.now += OFF
    await world.tenants.look()
    await world.serve(EVIL)
    assert await world.sweeps(EVIL, 1.0) is OpenResult.ENQUEUED


async def test_a_script_that_has_written_is_told_of_and_not_counted_as_ended(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    running = endless(world.client("evil"), "redis.call('hset', KEYS[1], 'a', 'b') " + ENDLESS, f"{EVIL.prefix}:meta")
    until(lambda: busy(world))
    with pytest.raises(Outage):
        await world.tenants.look()
    assert "only a restart of it ends that" in caplog.text
    assert world.metric("kubesweep_queue_scripts_killed_total") == 0
    world.server.kill()
    await asyncio.to_thread(running.join)


def fill(client: redis.Redis, name: str, size: int) -> None:
    for number in range(size // 65536):
        client.hset(name, str(number), "x" * 65536)


async def test_a_namespace_above_its_share_loses_its_logins_and_what_was_too_much(world: World) -> None:
    await world.sweeps(EVIL, 1.0)
    await world.sweeps(GOOD, 1.0)
    attacker = world.client("evil")
    fill(attacker, f"{{ks:{INSTALL}/evil/x}}:y", 3 * SHARE)
    await world.tenants.look()
    assert (world.metric("kubesweep_queue_memory_bytes", namespace="evil") or 0) > 3 * SHARE
    assert 0 < (world.metric("kubesweep_queue_memory_bytes", namespace="good") or 0) < SHARE
    with pytest.raises(NoPermissionError):
        fill(attacker, f"{{ks:{INSTALL}/evil/x}}:y", SHARE)
    with pytest.raises((AuthenticationError, ResponseError)):
        world.client("evil").hget(f"{EVIL.prefix}:meta", "uid")
    with pytest.raises(Outage, match=r"evil took \d MiB, more than queue.namespaceMemory \(1 MiB\)") as refused:
        await world.serve(EVIL)
    assert refused.value.reason == "QueueMemory"
    assert world.told == ["evil"]
    with world.server.client() as client:
        assert client.exists(f"{EVIL.prefix}:meta"), "its own schedule's keys were not too much"
        assert not client.exists(f"{{ks:{INSTALL}/evil/x}}:y")
    await world.serve(GOOD)
    assert await world.sweeps(GOOD, 2.0) is OpenResult.FORBIDDEN

    world.now += OFF
    await world.tenants.look()
    assert world.told == ["evil", "evil"]
    await world.serve(EVIL)
    assert await world.sweeps(EVIL, 2.0) is OpenResult.FORBIDDEN
    attacker.close()


async def test_large_entries_among_many_small_ones_are_counted(world: World) -> None:
    with world.client("evil") as client:
        client.hset(f"{EVIL.prefix}:excluded", mapping={f"f{number}": "x" * 70 for number in range(3000)})
        fill(client, f"{EVIL.prefix}:excluded", 2 * SHARE)
    await world.tenants.look()
    assert (world.metric("kubesweep_queue_memory_bytes", namespace="evil") or 0) > 2 * SHARE


async def test_schedules_that_are_too_much_themselves_start_anew_largest_first(world: World) -> None:
    small = ScheduleRef(INSTALL, "evil", "small", EVIL.uid)
    world.refs.append(small)
    for ref in (EVIL, small):
        await world.sweeps(ref, 1.0)
    with world.client("evil") as client:
        fill(client, f"{EVIL.prefix}:excluded", 2 * SHARE)
    await world.tenants.look()
    root = connect(world.url)
    assert [stats.known for stats in await root.stats([EVIL, small])] == [False, True]
    await root.close()


async def test_keys_of_namespaces_without_schedules_are_counted_and_deleted_together(world: World) -> None:
    with world.client("evil") as client:
        fill(client, f"{{ks:{INSTALL}/evil/x}}:y", 2 * SHARE)
    world.refs.remove(EVIL)
    world.logins.forget("evil", EVIL.name)
    await world.tenants.look()
    with world.server.client() as client:
        assert not client.exists(f"{{ks:{INSTALL}/evil/x}}:y")
    assert world.metric("kubesweep_queue_memory_bytes", namespace="evil") is None
    assert await known_users(world.url) == {"default", *pair(world, "good")}
    assert world.told == []


def pair(world: World, namespace: str) -> tuple[str, str]:
    own = world.logins.login(namespace)
    return own.user, own.keda_user


async def test_memory_that_runs_short_is_summed_up_at_once(world: World) -> None:
    with world.server.client() as client:
        client.config_set("maxmemory", "24mb")
        await world.tenants.look()
        with world.client("evil") as evil:
            fill(evil, f"{{ks:{INSTALL}/evil/x}}:y", 2 * SHARE)
            await world.tenants.look()
            assert client.exists(f"{{ks:{INSTALL}/evil/x}}:y"), "no memory is missing, and a minute is not over"
            fill(evil, f"{{ks:{INSTALL}/evil/x}}:y2", 12 * SHARE)
        world.now += MEASURE / 10
        await world.tenants.look()
        assert not client.exists(f"{{ks:{INSTALL}/evil/x}}:y2")
    assert await world.sweeps(GOOD, 1.0) is OpenResult.ENQUEUED


def answered(client: Any, scripts: int) -> bool:
    return bool(client.info("commandstats").get("cmdstat_eval", {}).get("calls") == scripts)


@pytest.mark.parametrize("kind", sorted(binaries()))
async def test_answers_that_nobody_reads_do_not_fill_the_memory_of_a_server_that_is_set_up_like_the_charts(
    kind: str,
) -> None:
    chart = Path(__file__).parents[2] / "charts" / "kubesweep" / "files" / "redis.conf"
    (share,) = re.findall(r"^maxmemory-clients (\S+)$", chart.read_text(), re.MULTILINE)
    made = Server(kind, **{"requirepass": "sesame", "maxmemory": "64mb", "maxmemory-clients": share})
    made.login = {"password": "sesame"}
    made.start()
    try:
        world = World(made)
        for ref in world.refs:
            await world.serve(ref)
        own = world.logins.login("evil")
        words = encode_command(b"AUTH", own.user.encode(), own.password.encode())
        words += encode_command(b"EVAL", b"return string.rep('x', 2^25)", b"0")
        lines = [socket.create_connection(("127.0.0.1", made.port)) for _ in range(4)]
        with made.client() as client:
            for count, line in enumerate(lines, 1):
                line.sendall(words)
                until(partial(answered, client, count))
            assert await world.sweeps(GOOD, 1.0) is OpenResult.ENQUEUED
            assert client.info("stats")["evicted_clients"] > 0
        for line in lines:
            line.close()
    finally:
        made.remove()


async def test_a_server_that_evicts_is_told_of(world: World) -> None:
    await world.tenants.look()
    assert world.tenants.evicts == ""
    with world.server.client() as client:
        client.config_set("maxmemory-policy", "volatile-lru")
    await world.tenants.look()
    assert world.tenants.evicts == "volatile-lru"


async def test_a_namespace_without_schedules_loses_its_logins_and_gets_them_back_with_one(world: World) -> None:
    before = pair(world, "evil")
    world.refs.remove(EVIL)
    world.logins.forget("evil", EVIL.name)
    await world.tenants.look()
    assert not await known_users(world.url) & {*before}
    world.refs.append(EVIL)
    await world.serve(EVIL)
    assert await world.sweeps(EVIL, 1.0) is OpenResult.ENQUEUED


async def test_a_namespace_made_again_has_another_login_with_its_first_schedule(world: World) -> None:
    before = world.logins.login("evil")
    written = len(world.cluster.written)
    world.cluster.uids["evil"] = "made again"
    again = ScheduleRef(INSTALL, "evil", EVIL.name, "another")
    await world.serve(again)
    after = world.logins.login("evil")
    assert len(world.cluster.written) == written + 1
    assert (after.user, after.keda_user) == (before.user, before.keda_user)
    assert not {after.password, after.keda_password} & {before.password, before.keda_password}
    assert await world.sweeps(again, 1.0) is OpenResult.ENQUEUED
    with pytest.raises((AuthenticationError, ResponseError)):
        redis.Redis(port=world.server.port, username=before.user, password=before.password).ping()


async def test_a_secret_that_somebody_deleted_is_back_at_the_next_resync(world: World) -> None:
    written = len(world.cluster.written)
    world.now += SOON
    await world.logins.ensure("evil", {"name": EVIL.name, "uid": EVIL.uid}, doubtful=True)
    assert len(world.cluster.written) == written + 1


PAGE = (Path(__file__).parents[2] / "docs" / "redis-acl.md").read_text().partition("## Controller\n")[2]
LEAST = PAGE.partition(">PASSWORD ")[2].partition("\n")[0].replace("INSTALL", INSTALL).split()
USERS, *LOOKS = (found.split() for found in re.findall(r"`(\+[^`]*)`", PAGE.partition("\n## ")[0]))


def least(server: Server, *rules: str) -> World:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "least", "on", ">least", *LEAST, *rules)
    return World(server, "least:least")


async def test_the_rules_of_the_page_are_enough_to_look_after_a_server(server: Server) -> None:
    world = least(server, *USERS, *(rule for rules in LOOKS for rule in rules))
    for ref in world.refs:
        await world.serve(ref)
    fill(world.client("evil"), f"{{ks:{INSTALL}/evil/x}}:y", 2 * SHARE)
    await world.tenants.look()
    with pytest.raises(Outage, match="namespaceMemory"):
        await world.serve(EVIL)
    attacker = world.client("good")
    for told in (["evil"], ["evil", "good"]):
        await ended(world, attacker)
        assert world.told == told
    world.refs.remove(EVIL)
    world.logins.forget("evil", EVIL.name)
    world.now += MEASURE
    await world.tenants.look()
    assert await known_users(world.url) == {"default", "least", *pair(world, "good")}


@pytest.mark.parametrize("missing", [rule for rules in LOOKS for rule in rules])
async def test_without_one_of_these_rules_its_part_rests_and_everything_else_goes_on(
    server: Server, missing: str
) -> None:
    world = least(server, *USERS, *(rule for rules in LOOKS for rule in rules if rule != missing))
    for ref in world.refs:
        await world.serve(ref)
        assert await world.sweeps(ref, 1.0) is OpenResult.ENQUEUED
    world.refs.remove(EVIL)
    world.logins.forget("evil", EVIL.name)
    with world.server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    await world.tenants.look()
    await world.serve(GOOD)
    assert world.tenants.evicts == ("" if missing == "+info" else "allkeys-lru")
    assert await known_users(world.url) == {"default", "least", *pair(world, "good")}
    measured = world.metric("kubesweep_queue_memory_bytes", namespace="good") is not None
    assert measured is (missing not in ("+scan", "+memory|usage"))


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
