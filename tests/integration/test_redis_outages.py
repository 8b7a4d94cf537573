"""Errors of a server: each has its own reason and a helpful message, and the queue recovers from each."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from redis._parsers.base import BaseParser

from kubesweep.errors import Outage
from kubesweep.queue.model import (
    Job,
    JobKind,
    Limits,
    OpenResult,
    PlanVersion,
    ScheduleRef,
    Settlement,
    SweepRequest,
    Window,
)
from kubesweep.queue.redis.errors import outage
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep.queue.service import QueueService
from tests.kits.proxy import Proxy
from tests.kits.servers import Server, binaries, until

REF = ScheduleRef("local", "default", "expire-carts", "8b5f6f0e-0000-4000-8000-000000000001")
PLAN = PlanVersion(1, "aaaa")
LIMITS = Limits()


@pytest.fixture(params=sorted(binaries()), scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(request.param, enable_debug_command="local", enable_protected_configs="local").start()
    yield made
    made.remove()


@pytest.fixture
async def queue(server: Server) -> AsyncIterator[RedisQueue]:
    with server.client() as client:
        client.flushall()
    made = RedisQueue(server.url)
    yield made
    await made.close()


async def reason(queue: QueueService, tick: float) -> str:
    """What open_sweep says of the server's state."""
    with pytest.raises(Outage) as refused:
        await queue.open_sweep(REF, SweepRequest(tick=tick, plan=PLAN))
    assert "redis://127.0.0.1" in str(refused.value)
    return refused.value.reason


async def planned(queue: QueueService, jobs: int) -> str:
    sweep = (await queue.open_sweep(REF, SweepRequest(tick=1.0, plan=PLAN))).sweep
    (claim,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    cut = tuple(Job(JobKind.KEYS, PLAN, sweep, keys=((str(n),),), rows=1) for n in range(jobs))
    assert await queue.advance(REF, claim, Window("now", cut, planned=jobs))
    return sweep


async def test_without_memory_new_work_is_refused_whole_and_claimed_jobs_are_settled(
    server: Server, queue: RedisQueue
) -> None:
    sweep = await planned(queue, 3)
    (one,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
    with server.client() as client:
        client.config_set("maxmemory", 1)
        before = client.dbsize()
        assert await reason(queue, 2.0) == "QueueFull"
        assert client.dbsize() == before
        settled = await queue.settle(REF, "ann", [Settlement(one, applied=1)], 2, LIMITS)
        two, three = settled.claims.jobs
        assert await queue.extend(REF, [two, three], 30.0) == ()
        assert await queue.release(REF, [three]) == ()
        (three,) = (await queue.claim(REF, "ann", 1, LIMITS)).jobs
        done = [Settlement(two, applied=1), Settlement(three, applied=1)]
        assert (await queue.settle(REF, "ann", done, 0, LIMITS)).finished == (sweep,)
        client.config_set("maxmemory", 0)
    (stats,) = await queue.stats([REF])
    assert stats.last_tick == 1.0


async def test_a_replica_is_named_as_such(server: Server, queue: RedisQueue) -> None:
    with server.client() as client:
        client.replicaof("127.0.0.1", server.port)
        assert await reason(queue, 2.0) == "QueueReadOnly"
        client.replicaof("NO", "ONE")
    assert (await queue.open_sweep(REF, SweepRequest(tick=2.0, plan=PLAN))).sweep


async def test_a_name_that_resolves_to_the_new_primary_recovers(server: Server) -> None:
    after = Server(server.kind).start()
    async with Proxy(server.port) as name:
        queue = RedisQueue(name.url)
        assert (await queue.open_sweep(REF, SweepRequest(tick=time.time(), plan=PLAN))).answer
        with server.client() as client:
            client.replicaof("127.0.0.1", after.port)
            name.to = after.port
            assert await reason(queue, 2.0) == "QueueReadOnly"
            client.replicaof("NO", "ONE")
        assert (await queue.open_sweep(REF, SweepRequest(tick=time.time(), plan=PLAN))).answer is OpenResult.ENQUEUED
        await queue.close()
    after.remove()


async def test_missing_replicas_are_named(server: Server, queue: RedisQueue) -> None:
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        assert await reason(queue, 2.0) == "QueueNoReplicas"
        client.config_set("min-replicas-to-write", 0)


async def test_a_disk_that_takes_nothing_is_named(server: Server, queue: RedisQueue) -> None:
    elsewhere = server.folder / "gone"
    elsewhere.mkdir()
    with server.client() as client:
        client.config_set("dir", str(elsewhere))
        client.config_set("save", "3600 1")
        elsewhere.rmdir()
        client.set("{ks:x}:y", "1")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        assert await reason(queue, 2.0) == "QueueDisk"
        client.config_set("save", "")
        client.config_set("dir", str(server.folder))
    assert (await queue.open_sweep(REF, SweepRequest(tick=2.0, plan=PLAN))).sweep


async def test_a_refused_password_is_named(server: Server) -> None:
    with server.client() as client:
        client.config_set("requirepass", "secret")
        nobody = RedisQueue(server.url)
        unknown_user = RedisQueue(server.url.replace("redis://", "redis://default:guess@"))
        assert [await reason(nobody, 2.0), await reason(unknown_user, 2.0)] == ["QueueAuth", "QueueAuth"]
        client.config_set("requirepass", "")
        assert (await nobody.open_sweep(REF, SweepRequest(tick=time.time(), plan=PLAN))).answer
    await nobody.close()
    await unknown_user.close()


async def test_a_server_with_too_many_clients_is_named(server: Server, queue: RedisQueue) -> None:
    with server.client() as client:
        client.ping()
        client.config_set("maxclients", 1)
        assert await reason(queue, 2.0) == "QueueClients"
        client.config_set("maxclients", 100)


async def test_a_server_that_runs_an_endless_script_is_named(server: Server, queue: RedisQueue) -> None:
    def run_for_ever() -> None:
        with server.client() as client, pytest.raises(redis.exceptions.ResponseError, match=r"(?i)killed"):
            client.eval("while true do end", 0)

    await queue.claim(REF, "ann", 1, LIMITS)
    with server.client() as client:
        client.config_set("busy-reply-threshold", 1)
        endless = threading.Thread(target=run_for_ever)
        endless.start()
        reasons: set[str] = set()
        while "QueueBusy" not in reasons:
            try:
                await queue.claim(REF, "ann", 1, LIMITS)
            except Outage as error:
                reasons.add(error.reason)
        client.script_kill()
        await asyncio.to_thread(endless.join)
        client.config_set("busy-reply-threshold", 5000)
    assert (await queue.open_sweep(REF, SweepRequest(tick=2.0, plan=PLAN))).sweep


async def test_a_server_that_does_not_answer_is_given_up_after_the_timeout(server: Server, queue: RedisQueue) -> None:
    hasty = RedisQueue(server.url + "?socket_timeout=3")
    await hasty.claim(REF, "ann", 1, LIMITS)
    with server.frozen(), pytest.raises(Outage) as silent:
        await hasty.claim(REF, "ann", 1, LIMITS)
    assert silent.value.reason == "QueueTimeout"
    assert (await hasty.claim(REF, "ann", 1, LIMITS)).lost
    await hasty.close()


async def test_an_operation_can_be_cancelled_at_any_moment(queue: RedisQueue) -> None:
    await queue.claim(REF, "ann", 1, LIMITS)
    for steps in range(12):
        waiting = asyncio.create_task(queue.wait(REF, 60.0))
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_no_server_at_all_is_named(server: Server) -> None:
    nowhere = RedisQueue("redis://127.0.0.1:1/0")
    assert await reason(nowhere, 2.0) == "QueueUnreachable"
    nobody = RedisQueue("redis://127.0.0.1:1/0")
    with pytest.raises(Outage, match="cannot be reached"):
        await nobody.wait(REF, 1.0)
    await nowhere.close()
    await nobody.close()


async def test_a_closed_queue_says_so(queue: RedisQueue) -> None:
    await queue.close()
    await queue.close()
    with pytest.raises(Outage) as closed:
        await queue.claim(REF, "ann", 1, LIMITS)
    assert closed.value.reason == "QueueClosed"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("LOADING Redis is loading the dataset in memory", "QueueLoading"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "QueueReadOnly"),
        ("CLUSTERDOWN The cluster is down", "QueueCluster"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "QueueCluster"),
        ("MOVED 3999 127.0.0.1:6381", "QueueCluster"),
        ("ASK 3999 127.0.0.1:6381", "QueueCluster"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "QueueCluster"),
        ("NOPERM this user has no permissions to run the 'eval' command", "QueueRights"),
        ("NOAUTH Authentication required.", "QueueAuth"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "QueueAuth"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "QueueDisk"),
        ("ERR something new", "QueueError"),
    ],
)
def test_an_error_reply_has_a_reason(said: str, reason: str) -> None:
    found = outage(BaseParser.parse_error(said), "redis://queue:6379/0")  # type: ignore[no-untyped-call]
    assert found.reason == reason
    assert str(found).startswith("queue redis://queue:6379/0: ")
