"""Queue users on a real server: sufficient for the pods of their namespace and for KEDA, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from kubesweep.errors import Outage
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Limits, PlanVersion, ScheduleRef, Settlement, SweepRequest
from kubesweep_controller.children.secret import NamespaceCredentials
from kubesweep_controller.queue.credentials import SUSPECT_SECONDS, QueueCredentials, derived
from kubesweep_controller.queue.users import set_users, user_names
from kubesweep_controller.settings import from_environment
from tests.kits.controller import Recorder
from tests.kits.servers import Server, binaries, cluster, fail_over, sentinel

INSTALL = "abcd1234"
OURS = ScheduleRef(INSTALL, "shop", "carts", "8b5f6f0e-0000-4000-8000-000000000001")
THEIRS = ScheduleRef(INSTALL, "bank", "carts", "9b5f6f0e-0000-4000-8000-000000000002")
PLAN = PlanVersion(1, "aaaa")
KINDS = pytest.mark.parametrize("kind", sorted(binaries()))
SESAME: dict[str, Any] = {"requirepass": "sesame", "masterauth": "sesame"}


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(request.param, requirepass="sesame")
    made.login = {"password": "sesame"}
    made.start()
    yield made
    made.remove()


def derive(namespace: str) -> NamespaceCredentials:
    pods, keda = user_names(INSTALL, namespace)
    return NamespaceCredentials(
        pods, derived("sesame", f"worker/{namespace}"), keda, derived("sesame", f"keda/{namespace}")
    )


def admin(server: Server) -> str:
    return f"redis://:sesame@127.0.0.1:{server.port}/0"


def url(server: Server, namespace: str) -> str:
    own = derive(namespace)
    return f"redis://{own.user}:{own.password}@127.0.0.1:{server.port}/0"


async def test_a_namespace_can_sweep_and_cannot_touch_its_neighbour(server: Server) -> None:
    for space in ("shop", "bank"):
        await set_users(admin(server), INSTALL, space, derive(space))
    ours, theirs = connect(url(server, "shop")), connect(url(server, "bank"))
    opened = await ours.open_sweep(OURS, SweepRequest(tick=1.0, plan=PLAN))
    [claim] = (await ours.claim(OURS, "worker", 1, Limits())).jobs
    assert claim.job.sweep == opened.sweep
    assert not (await ours.settle(OURS, "worker", [Settlement(claim)], 1, Limits())).lost
    for queue, ref in ((ours, THEIRS), (theirs, OURS)):
        with pytest.raises(Outage) as refused:
            await queue.open_sweep(ref, SweepRequest(tick=2.0, plan=PLAN))
        assert refused.value.reason == "QueueRights"
        with pytest.raises(Outage):
            await queue.schedules()
    await ours.close()
    await theirs.close()


async def test_keda_reads_two_lengths_and_changes_nothing(server: Server) -> None:
    await set_users(admin(server), INSTALL, "shop", derive("shop"))
    queue = connect(url(server, "shop"))
    await queue.open_sweep(OURS, SweepRequest(tick=1.0, plan=PLAN))
    await queue.close()
    own = derive("shop")
    with server.client(username=own.keda_user, password=own.keda_password) as client:
        assert client.ping()
        assert client.xlen(f"{OURS.prefix}:work") == 1
        assert client.xlen(f"{OURS.prefix}:marker") == 0
        for command in (
            ("XADD", f"{OURS.prefix}:work", "*", "a", "b"),
            ("XLEN", f"{THEIRS.prefix}:work"),
            ("EVAL", "return 1", 0),
            ("GET", "x"),
            ("FLUSHALL",),
            ("KEYS", "*"),
        ):
            with pytest.raises(redis.exceptions.ResponseError):
                client.execute_command(*command)


async def test_users_are_restored_after_the_server_lost_them(server: Server) -> None:
    await set_users(admin(server), INSTALL, "shop", derive("shop"))
    server.kill()
    server.start()
    queue = connect(url(server, "shop"))
    with pytest.raises(Outage) as refused:
        await queue.stats([OURS])
    assert refused.value.reason == "QueueAuth"
    await set_users(admin(server), INSTALL, "shop", derive("shop"))
    assert not (await queue.claim(OURS, "worker", 1, Limits())).jobs
    await queue.close()


async def test_a_server_whose_admin_may_not_make_users_is_an_outage_with_a_reason(server: Server) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">weak", "~*", "+@all", "-@admin")
    with pytest.raises(Outage) as refused:
        await set_users(f"redis://weak:weak@127.0.0.1:{server.port}/0", INSTALL, "shop", derive("shop"))
    assert refused.value.reason == "QueueRights"


def made(server: Server) -> set[str]:
    """The server's users except its default one."""
    with server.client() as client:
        return set(client.acl_users()) - {"default"}


@KINDS
async def test_every_node_of_a_cluster_gets_the_users_and_they_are_enough_there(kind: str) -> None:
    own = derive("shop")
    with cluster(kind, replicas=1, **SESAME) as nodes:
        where = ",".join(f"127.0.0.1:{node.port}" for node in nodes[:3])
        await set_users(f"redis+cluster://:sesame@{where}", INSTALL, "shop", own)
        assert [made(node) for node in nodes] == [{own.user, own.keda_user}] * len(nodes)
        queue = connect(f"redis+cluster://{own.user}:{own.password}@{where}")
        for number in range(6):
            ref = ScheduleRef(INSTALL, "shop", f"carts-{number}", OURS.uid)
            await queue.open_sweep(ref, SweepRequest(tick=1.0, plan=PLAN))
            await queue.wait(ref, 0.001)
            [claim] = (await queue.claim_next(ref, "worker", 1, Limits(), 1.0)).jobs
            assert not (await queue.settle(ref, "worker", [Settlement(claim)], 0, Limits())).lost
        await queue.close()


@KINDS
async def test_a_replica_has_the_users_before_sentinels_promote_it(kind: str) -> None:
    own = derive("shop")
    with sentinel(kind, **SESAME) as (_, replica, watcher):
        where = f"127.0.0.1:{watcher.port}/main"
        await set_users(f"redis+sentinel://:sesame@{where}", INSTALL, "shop", own)
        assert made(replica) == {own.user, own.keda_user}
        fail_over(watcher)
        queue = connect(f"redis+sentinel://{own.user}:{own.password}@{where}")
        await queue.open_sweep(OURS, SweepRequest(tick=1.0, plan=PLAN))
        await queue.close()


@KINDS
async def test_a_replica_that_is_down_delays_no_user(kind: str) -> None:
    with sentinel(kind, **SESAME) as (primary, replica, watcher):
        replica.kill()
        own = derive("shop")
        await set_users(f"redis+sentinel://:sesame@127.0.0.1:{watcher.port}/main", INSTALL, "shop", own)
        assert made(primary) == {own.user, own.keda_user}


async def test_users_are_set_again_after_a_password_change_and_while_jobs_wait(server: Server, tmp_path: Path) -> None:
    file, time = tmp_path / "password", [0.0]
    file.write_text("sesame")
    environment = {
        "KUBESWEEP_QUEUE": f"redis://127.0.0.1:{server.port}/0?password_file={file}",
        "KUBESWEEP_QUEUE_USERS": "per-namespace",
        "KUBESWEEP_WORKER_IMAGE": "worker:1",
        "POD_NAMESPACE": "kubesweep",
        "POD_NAME": "kubesweep-0",
    }
    credentials = QueueCredentials(from_environment(environment), INSTALL, Recorder(), clock=lambda: time[0])

    async def sweep() -> None:
        own = credentials.derive("shop")
        queue = connect(f"redis://{own.user}:{own.password}@127.0.0.1:{server.port}/0")
        try:
            await queue.open_sweep(OURS, SweepRequest(tick=1.0, plan=PLAN))
        finally:
            await queue.close()

    await credentials.ensure("shop")
    await sweep()
    with server.client() as client:
        client.config_set("requirepass", "new")
        file.write_text("new")
        await credentials.ensure("shop")
        await sweep()
        client.acl_deluser(credentials.user("shop"))
    with pytest.raises(Outage):
        await sweep()
    time[0] += SUSPECT_SECONDS
    await credentials.ensure("shop", recheck=True)
    await sweep()
