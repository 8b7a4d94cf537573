"""docs/redis-acl.md is correct: the rules of each user are sufficient, and each rule is necessary.

Each user's scenario calls every method of the Protocol that the user may call (see queue/service.py).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio
from redis.exceptions import NoPermissionError, ResponseError

from kubesweep.errors import Outage
from kubesweep.queue.model import (
    FailedRow,
    Finding,
    Job,
    JobKind,
    Limits,
    PlanVersion,
    Retry,
    ScheduleRef,
    Settlement,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep.queue.service import OperatorQueue, ProducerQueue, QueueService, WorkerQueue
from tests.kits.servers import Server, binaries, shared

PAGE = Path(__file__).parents[2] / "docs" / "redis-acl.md"
RULES = {
    match["name"]: match["rules"]
    for match in re.finditer(r"^user kubesweep-(?P<name>\w+) (?P<rules>.*)$", PAGE.read_text(), re.MULTILINE)
}
REF = ScheduleRef("inst0001", "shop", "expire-carts", "8b5f6f0e-0000-4000-8000-000000000001")
FOREIGN = msgspec.structs.replace(REF, install="inst0002")
NEIGHBOUR = msgspec.structs.replace(REF, namespace="shop-2")
LIMITS = Limits(rows_per_second=1e6)
AT_ONCE = Limits(lease=0.0)
OLD, NEW = PlanVersion(1, "aaaa"), PlanVersion(2, "bbbb")
REFUSED = r"permission|user executing the script can't|ACL failure"

Scenario = Callable[[QueueService, QueueService], Awaitable[None]]


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


def row(number: int) -> FailedRow:
    return FailedRow((str(number),), "Rejected", "refused")


async def planned(queue: QueueService, *jobs: int, tick: float) -> str:
    sweep = (await queue.open_sweep(REF, SweepRequest(tick=tick, plan=OLD))).sweep
    (claim,) = (await queue.claim(REF, "planner", 1, LIMITS)).jobs
    cut = tuple(Job(JobKind.KEYS, OLD, sweep, keys=((str(n),),), rows=1) for n in jobs)
    assert await queue.advance(REF, claim, Window("now", cut, planned=len(jobs)))
    return sweep


async def worker(root: QueueService, queue: QueueService) -> None:
    now = time.time()
    await root.open_sweep(REF, SweepRequest(tick=now, plan=OLD))
    for number in range(65):
        await queue.report(REF, Finding(f"kind{number}", True, "Fine", "", OLD))
    (plan,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    assert await queue.extend(REF, [plan], 30.0) == ()
    cut = tuple(Job(JobKind.KEYS, OLD, plan.job.sweep, keys=((str(n),),), rows=1) for n in range(4))
    assert await queue.advance(REF, plan, Window("now", cut, planned=4))
    retried, dead, kept, back = (await queue.claim(REF, "ann", 4, LIMITS)).jobs
    done = [
        Settlement(retried, retry=(Retry((row(0),), 2, 0.0),)),
        Settlement(dead, dead=(row(1),)),
        Settlement(kept, rest=kept.job),
    ]
    settled = await queue.settle(REF, "ann", done, 1, LIMITS)
    (again,) = settled.claims.jobs
    assert again.job.is_retry
    assert len((await queue.excluded(REF)).keys) == 2
    assert len(await queue.error_groups(REF, state=None)) == 1
    assert await queue.approved(REF) is None
    assert (await queue.reserve(REF, 1, LIMITS)).time is not None
    await queue.settle(REF, "ann", [Settlement(again, applied=1), Settlement(kept, applied=1)], 0, LIMITS)
    assert await queue.release(REF, [back]) == ()
    (given,) = (await queue.claim(REF, "ann", 1, AT_ONCE)).jobs
    (late,) = (await queue.claim_next(REF, "bob", 1, LIMITS, 1.0)).jobs
    assert (given.job, late.delivery) == (late.job, 2)
    waiting = asyncio.ensure_future(queue.wait(REF, 60.0))
    while not waiting.done():  # as soon as it listens it is woken
        await root.pause(REF, True)
        await root.pause(REF, False)
    await waiting
    assert await queue.end_sweep(REF, late, SweepState.FAILED, "TableMissing", "no table")
    assert (await queue.stats([REF]))[0].known
    await planned(root, 5, tick=now + 1)
    (bad,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    await root.open_sweep(REF, SweepRequest(tick=now + 2, plan=NEW))  # waits for the job that ann has
    await queue.settle(REF, "ann", [Settlement(bad, applied=1)], 0, LIMITS)
    await root.forget(REF)
    sweep = await planned(root, 6, 7, tick=now + 3)
    bad, worse = (await queue.claim(REF, "ann", 2, LIMITS)).jobs
    full = Limits(halt_above=1)
    answer = await queue.settle(
        REF, "ann", [Settlement(bad, dead=(row(6),)), Settlement(worse, dead=(row(7),))], 0, full
    )
    assert answer.halted == (sweep,)


async def producer(root: QueueService, queue: QueueService) -> None:
    now = time.time()
    assert (await queue.open_sweep(REF, SweepRequest(tick=now - 60, plan=OLD))).sweep
    await root.forget(REF)
    await planned(root, 1, tick=now - 50)
    (claim,) = (await root.claim(REF, "ann", 1, LIMITS)).jobs
    await root.settle(REF, "ann", [Settlement(claim, dead=(row(1),))], 0, LIMITS)
    await planned(root, 2, tick=now - 40)
    assert (await queue.open_sweep(REF, SweepRequest(tick=now - 30, plan=NEW, retention=0.0))).sweep
    assert (await root.excluded(REF)).version > 0
    assert (await root.excluded(REF)).keys == frozenset()
    await root.forget(REF)
    await planned(root, 3, 4, 5, tick=now - 20)
    again, bad, _ = (await root.claim(REF, "ann", 3, LIMITS)).jobs
    failed = [Settlement(again, retry=(Retry((row(3),), 2, 60.0),)), Settlement(bad, dead=(row(4),))]
    await root.settle(REF, "ann", failed, 0, LIMITS)
    assert await root.replay(REF, keys=[("4",)]) == 1
    assert (await queue.open_sweep(REF, SweepRequest(tick=now - 10, plan=NEW))).sweep
    assert (await root.excluded(REF)).keys == {("4",)}


async def controller(root: QueueService, queue: QueueService) -> None:
    await producer(root, queue)
    await root.forget(REF)
    assert await queue.enqueue_check(REF, OLD)
    await root.claim(REF, "ann", 1, LIMITS)
    await planned(root, 1, 2, tick=time.time())
    one, two = (await root.claim(REF, "ann", 2, LIMITS)).jobs
    done = [Settlement(one, retry=(Retry((row(1),), 2, 0.0),)), Settlement(two, dead=(row(2),))]
    await root.settle(REF, "ann", done, 0, LIMITS)
    (stats,) = await queue.stats([REF])
    assert (stats.ready, stats.excluded, stats.dead) == (1, 2, 1)
    assert len(await queue.error_groups(REF)) == 1
    await queue.pause(REF, True)
    await queue.pause(REF, False)
    await root.open_sweep(REF, SweepRequest(tick=time.time() + 60, plan=OLD))
    await root.settle(REF, "ann", [Settlement(c, applied=1) for c in await taken(root, 1)], 0, LIMITS)
    (plan,) = await taken(root, 1)
    assert await root.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "ManyRows", "approve it")
    assert await queue.approve(REF) == plan.job.sweep
    await queue.forget(REF)
    await planned(root, 1, 2, tick=time.time())
    done = [Settlement(claim, dead=(row(number),)) for number, claim in enumerate(await taken(root, 2))]
    await root.settle(REF, "ann", done, 0, LIMITS)
    assert len(await queue.dead_letters(REF)) == 2
    assert len((await queue.excluded(REF)).keys) == 2
    assert await queue.replay(REF, keys=[("1",)]) == 1
    assert await queue.purge(REF) == 2  # including the row that is retried


async def taken(queue: QueueService, want: int) -> Any:
    return (await queue.claim(REF, "ann", want, LIMITS)).jobs


async def operator(root: QueueService, queue: QueueService) -> None:
    await controller(root, queue)
    assert await queue.schedules() == (REF,)


SCENARIOS: dict[str, Scenario] = {
    "worker": worker,
    "producer": producer,
    "controller": controller,
    "operator": operator,
}
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
    return RedisQueue(f"redis://kubesweep-{name}:secret@127.0.0.1:{server.port}/0")


def single_rules(name: str) -> list[str]:
    return [rule for rule in RULES[name].split() if rule.startswith("+")]


def test_the_page_has_a_rule_for_each_program() -> None:
    assert RULES.keys() == {*SCENARIOS, "keda"}


@pytest.mark.parametrize("name", sorted(SCENARIOS))
async def test_the_rules_of_the_page_are_enough(server: Server, name: str) -> None:
    root, queue = RedisQueue(server.url), as_user(server, name)
    recorder: Any = Recorder(queue)
    await SCENARIOS[name](root, recorder)
    assert recorder.called == PROTOCOLS[name]
    await root.close()
    await queue.close()


@pytest.mark.parametrize("name", ["worker", "producer"])
async def test_a_user_of_a_namespace_cannot_control_its_schedules(server: Server, name: str) -> None:
    root, queue = RedisQueue(server.url), as_user(server, name)
    await root.open_sweep(REF, SweepRequest(tick=time.time(), plan=OLD))
    (plan,) = await taken(root, 1)
    assert await root.end_sweep(REF, plan, SweepState.AWAITING_APPROVAL, "ManyRows", "approve it")
    forbidden: list[Awaitable[object]] = [queue.pause(REF, True), queue.approve(REF), queue.schedules()]
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
    root, queue = RedisQueue(server.url), as_user(server, name)
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
    root = RedisQueue(server.url)
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
