"""Users that the controller makes on a real server: enough for the pods of their namespace and for KEDA, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from kubesweep.errors import Outage
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Limits, OpenSweep, PlanVersion, ScheduleRef, Settlement
from kubesweep_controller.children.secret import Login
from kubesweep_controller.logins import derived, set_users
from tests.servers import Server, binaries

INSTALL = "abcd1234"
OURS = ScheduleRef(INSTALL, "shop", "carts", "8b5f6f0e-0000-4000-8000-000000000001")
THEIRS = ScheduleRef(INSTALL, "bank", "carts", "9b5f6f0e-0000-4000-8000-000000000002")
PLAN = PlanVersion(1, "aaaa")


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(request.param, requirepass="sesame")
    made.login = {"password": "sesame"}
    made.start()
    yield made
    made.remove()


def login(namespace: str) -> Login:
    pods, keda = derived("sesame", f"worker/{namespace}"), derived("sesame", "keda")
    return Login(f"ks-{INSTALL}-{namespace}", pods, f"ks-{INSTALL}-keda", keda)


def admin(server: Server) -> str:
    return f"redis://:sesame@127.0.0.1:{server.port}/0"


def url(server: Server, namespace: str) -> str:
    own = login(namespace)
    return f"redis://{own.user}:{own.password}@127.0.0.1:{server.port}/0"


async def test_a_namespace_can_sweep_and_cannot_touch_its_neighbour(server: Server) -> None:
    for space in ("shop", "bank"):
        await set_users(admin(server), INSTALL, space, login(space))
    ours, theirs = connect(url(server, "shop")), connect(url(server, "bank"))
    opened = await ours.open_sweep(OURS, OpenSweep(tick=1.0, plan=PLAN))
    [claim] = (await ours.claim(OURS, "worker", 1, Limits())).jobs
    assert claim.job.sweep == opened.sweep
    assert not (await ours.settle(OURS, "worker", [Settlement(claim)], 1, Limits())).lost
    for queue, ref in ((ours, THEIRS), (theirs, OURS)):
        with pytest.raises(Outage) as refused:
            await queue.open_sweep(ref, OpenSweep(tick=2.0, plan=PLAN))
        assert refused.value.reason == "QueueRights"
        with pytest.raises(Outage):
            await queue.schedules()
    await ours.close()
    await theirs.close()


async def test_keda_sees_two_lengths_and_changes_nothing(server: Server) -> None:
    await set_users(admin(server), INSTALL, "shop", login("shop"))
    queue = connect(url(server, "shop"))
    await queue.open_sweep(OURS, OpenSweep(tick=1.0, plan=PLAN))
    await queue.close()
    own = login("shop")
    with server.client(username=own.keda_user, password=own.keda_password) as client:
        assert client.ping()
        assert client.xlen(f"{OURS.prefix}:work") == 1
        assert client.eval("return redis.call('zcard', KEYS[1])", 1, f"{OURS.prefix}:delayed") == 0
        for words in (("XADD", f"{OURS.prefix}:work", "*", "a", "b"), ("GET", "x"), ("FLUSHALL",), ("KEYS", "*")):
            with pytest.raises(redis.exceptions.ResponseError):
                client.execute_command(*words)


async def test_users_come_back_after_the_server_forgot_them(server: Server) -> None:
    await set_users(admin(server), INSTALL, "shop", login("shop"))
    server.kill()
    server.start()
    queue = connect(url(server, "shop"))
    with pytest.raises(Outage) as refused:
        await queue.stats([OURS])
    assert refused.value.reason == "QueueAuth"
    await set_users(admin(server), INSTALL, "shop", login("shop"))
    assert not (await queue.claim(OURS, "worker", 1, Limits())).jobs
    await queue.close()


async def test_a_server_whose_admin_may_not_make_users_is_an_outage_with_a_reason(server: Server) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">weak", "~*", "+@all", "-@admin")
    with pytest.raises(Outage) as refused:
        await set_users(f"redis://weak:weak@127.0.0.1:{server.port}/0", INSTALL, "shop", login("shop"))
    assert refused.value.reason == "QueueRights"
