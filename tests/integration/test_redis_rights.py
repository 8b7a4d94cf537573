"""docs/redis-acl.md is correct: the rules of each user are sufficient, and each rule is necessary.

Each user's scenario calls every method of the Protocol that the user may call (see queue/service.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio
from redis.exceptions import NoPermissionError, ResponseError

from kubesweep.errors import Outage
from kubesweep.queue.model import (
    Pace,
    Retry,
    Settlement,
    SweepRequest,
    SweepState,
)
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep.queue.service import OperatorQueue, ProducerQueue, QueueService, WorkerQueue
from tests.integration.redis_user_scenarios import LIMITS, OLD, REF, SCENARIOS, planned, row, taken
from tests.kits.deadlines import scaled
from tests.kits.servers import Server, binaries, shared

PAGE = Path(__file__).parents[2] / "docs" / "redis-acl.md"
RULES = {
    match["name"]: match["rules"]
    for match in re.finditer(r"^user kubesweep-(?P<name>\w+) (?P<rules>.*)$", PAGE.read_text(), re.MULTILINE)
}
FOREIGN = msgspec.structs.replace(REF, install="inst0002")
NEIGHBOUR = msgspec.structs.replace(REF, namespace="shop-2")
REFUSED = r"permission|user executing the script can't|ACL failure"


def _methods(protocol: type) -> set[str]:
    return {name for name in dir(protocol) if not name.startswith("_")} - {"close"}


class Recorder:
    """A queue that records the names of the methods that are called."""

    def __init__(self, queue: QueueService) -> None:
        self._queue = queue
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._queue, name)


# What the user of each name may call. Only a person lists the schedules: that needs a scan of the whole server.
PROTOCOLS: dict[str, set[str]] = {
    "worker": _methods(WorkerQueue),
    "producer": _methods(ProducerQueue),
    "controller": _methods(OperatorQueue) - {"schedules"},
    "operator": _methods(OperatorQueue),
}


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Server:
    found = shared(request.param)
    with found.client() as client:
        client.flushall()
        for name, rules in RULES.items():
            filled = rules.replace("INSTALL", "inst0001").replace("NAMESPACE", "shop").replace("PASSWORD", "secret")
            client.execute_command("ACL", "SETUSER", f"kubesweep-{name}", *filled.split())
    return found


def as_user(server: Server, name: str) -> RedisQueue:
    return RedisQueue(f"redis://kubesweep-{name}:secret@127.0.0.1:{server.port}/0?socket_timeout={scaled(60):g}")


def single_rules(name: str) -> list[str]:
    return [rule for rule in RULES[name].split() if rule.startswith("+")]


def test_the_page_has_a_rule_for_each_program() -> None:
    assert RULES.keys() == {*SCENARIOS, "keda"}


@pytest.mark.parametrize("name", sorted(SCENARIOS))
async def test_the_rules_of_the_page_are_enough(server: Server, name: str) -> None:
    root, queue = RedisQueue(f"{server.url}?socket_timeout={scaled(60):g}"), as_user(server, name)
    recorder: Any = Recorder(queue)
    await SCENARIOS[name](root, recorder)
    assert recorder.called == PROTOCOLS[name]
    await root.close()
    await queue.close()


@pytest.mark.parametrize("name", ["worker", "producer"])
async def test_a_user_of_a_namespace_cannot_control_its_schedules(server: Server, name: str) -> None:
    root, queue = RedisQueue(f"{server.url}?socket_timeout={scaled(60):g}"), as_user(server, name)
    await root.open_sweep(REF, SweepRequest(tick=time.time(), plan=OLD))
    (plan,) = await taken(root, 1)
    assert await root.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "ManyRows", "approve it")
    forbidden: list[Awaitable[object]] = [queue.pause(REF, True), queue.approve(REF), queue.schedules()]
    forbidden.append(queue.set_pace(REF, Pace.of(None, "off")))
    forbidden.append(queue.claim(REF, "ann", 1, LIMITS) if name == "producer" else queue.open_sweep(REF, later()))
    for call in forbidden:
        with pytest.raises(Outage) as refused:
            await call
        assert refused.value.reason == "QueueRights"
    await root.close()
    await queue.close()


def later() -> SweepRequest:
    return SweepRequest(tick=time.time() + 60, plan=OLD)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
async def test_without_any_one_rule_of_the_page_some_operation_says_that_rights_are_missing(
    server: Server, name: str
) -> None:
    root, queue = RedisQueue(f"{server.url}?socket_timeout={scaled(60):g}"), as_user(server, name)
    answers = {}
    with server.client() as client:
        for rule in single_rules(name):
            if rule == "+eval":
                client.script_flush()
            await root.forget(REF)
            client.execute_command("ACL", "SETUSER", f"kubesweep-{name}", "-" + rule[1:])
            try:
                await SCENARIOS[name](root, queue)
            except Outage as error:
                answers[rule] = (error.reason, "docs/redis-acl.md" in str(error))
            client.execute_command("ACL", "SETUSER", f"kubesweep-{name}", rule)
    assert answers == dict.fromkeys(single_rules(name), ("QueueRights", True))
    await root.close()
    await queue.close()


@pytest.mark.parametrize("name", sorted(SCENARIOS))
async def test_a_user_cannot_touch_the_schedules_of_another_install(server: Server, name: str) -> None:
    queue = as_user(server, name)
    for call in (
        queue.open_sweep(FOREIGN, SweepRequest(tick=1.0, plan=OLD)),
        queue.stats([FOREIGN]),
        queue.forget(FOREIGN),
        queue.wait(FOREIGN, 0.001),
        queue.claim_next(FOREIGN, "ann", 1, LIMITS, 0.001),
    ):
        with pytest.raises(Outage) as refused:
            await call
        assert refused.value.reason == "QueueRights"
    await queue.close()


async def keda(client: Any) -> None:
    await client.execute_command("HELLO", 2)
    assert await client.ping()
    assert await client.xlen(f"{REF.prefix}:work") == 1
    assert await client.xlen(f"{REF.prefix}:marker") == 1


async def test_keda_can_ask_its_two_lengths_and_change_nothing(server: Server) -> None:
    root = RedisQueue(f"{server.url}?socket_timeout={scaled(60):g}")
    await planned(root, 1, tick=time.time())
    (claim,) = await taken(root, 1)
    await root.settle(REF, "ann", [Settlement(claim, retry=(Retry((row(1),), 2, 60.0),))], 0, LIMITS)
    await root.enqueue_check(REF, OLD)
    client = redis.asyncio.Redis(port=server.port, username="kubesweep-keda", password="secret", protocol=2)
    await keda(client)
    for words in (
        ("EVAL", "return 1", 0),
        ("EVAL_RO", "return 1", 0),
        ("XADD", f"{REF.prefix}:marker", "*", "a", "b"),
        ("XRANGE", f"{REF.prefix}:work", "-", "+"),
        ("ZCARD", f"{REF.prefix}:delayed"),
        ("XLEN", f"{FOREIGN.prefix}:work"),
        ("XLEN", f"{NEIGHBOUR.prefix}:work"),
    ):
        with pytest.raises(NoPermissionError):
            await client.execute_command(*words)  # type: ignore[no-untyped-call]
    with server.client() as admin:
        for rule in single_rules("keda"):
            admin.execute_command("ACL", "SETUSER", "kubesweep-keda", "-" + rule[1:])
            with pytest.raises(ResponseError, match=REFUSED):
                await keda(client)
            admin.execute_command("ACL", "SETUSER", "kubesweep-keda", rule)
    await client.aclose()
    await root.close()
