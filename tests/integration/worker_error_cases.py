"""The cases of docs/errors.md, section "Worker": each returns the code and the text of its failure."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from kubesweep.api.plan import Match, RetryPolicy, RowLimits, Source, Write
from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep.queue.model import Claim, Job, JobKind, Settlement
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.effects.handler import HandlerEffect
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.poison_job import give_up
from kubesweep_worker.jobs.redelivery import RedeliveryPolicy, redelivery_policy, with_crash
from kubesweep_worker.sources import open_source
from tests.integration.receivers import deliver, raw_receiver, receiver
from tests.integration.test_worker_handlers import MODULE, handler_plan
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect
from tests.unit.worker.test_other_origin import moved, planned_elsewhere


def code_of(error: BaseException) -> Answer:
    return (error.error if isinstance(error, RowError) else getattr(error, "reason", "?"), str(error))


Answer = tuple[str, str]


Case = Callable[[Path], Awaitable[Answer]]


def handled(function: str, timeout: float = 5.0) -> Case:
    async def case(_: Path) -> Answer:
        effect = HandlerEffect(handler_plan(function, timeout=timeout), f"{MODULE}:{function}")
        with pytest.raises((RowError, Outage, SweepFailure)) as caught:
            await effect.deliver(Delivery(("13",), {"id": 13}, "k", "now", 1, "s"))
        await effect.close()
        return code_of(caught.value)

    return case


def answered(status: int, timeout: float = 5.0) -> Case:
    async def case(_: Path) -> Answer:
        never = asyncio.Event()

        async def answer(request: web.Request) -> web.Response:
            if status == 0:
                await never.wait()
            if status < 0 and request.transport is not None:
                request.transport.abort()
            return web.Response(status=max(200, status), text="no such customer")

        async with receiver(answer) as url:
            with pytest.raises((RowError, Outage)) as caught:
                await deliver(url, timeout=timeout)
            never.set()
        code, text = code_of(caught.value)
        return code, text.replace(url.removeprefix("http://"), "mailer:8080")

    return case


def until(text: str, words: str) -> str:
    """Without what the system says behind ``words``."""
    return text.partition(words)[0] + words + "…"


def raw(said: bytes) -> Case:
    async def case(_: Path) -> Answer:
        async with raw_receiver(said) as url:
            with pytest.raises((RowError, Outage)) as caught:
                await deliver(url)
        code, text = code_of(caught.value)
        return code, until(text.replace(url.removeprefix("http://"), "mailer:8080"), "HTTP: ")

    return case


async def nobody_listens(_: Path) -> Answer:
    async with raw_receiver(b"") as url:
        pass
    with pytest.raises(Outage) as caught:
        await deliver(url)
    code, text = code_of(caught.value)
    return code, text.replace(url.removeprefix("http://"), "mailer:8080")


async def unknown_host(_: Path) -> Answer:
    with pytest.raises(Outage) as caught:
        await deliver("http://mailer.invalid")
    code, text = code_of(caught.value)
    return code, until(text, "resolved: ")


async def no_proxy(_: Path) -> Answer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", "socks5://10.0.0.1:1080")
        with pytest.raises(Outage) as caught:
            await deliver("http://mailer.invalid")
    return code_of(caught.value)


async def swept(bench: Workbench) -> Answer:
    stats = await bench.sweep()
    await bench.queue.close()
    assert stats.sweep is not None
    return stats.sweep.reason, stats.sweep.message


async def still_stale(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(1), plan=with_effect(a_plan(write=None)), effect=ScriptedEffect())
    await bench.sweep(retries=True)
    (letter,) = await bench.dead()
    await bench.queue.close()
    return letter.error, letter.message


async def never_ends(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(50))
    bench.source.unchanged = set(bench.source.stale_keys)
    return await swept(bench)


async def refused(folder: Path) -> Answer:
    made, source = sqlite3.connect(folder / "a.db"), Source(table="things")
    made.executescript(REFUSING)
    made.close()
    bench = Workbench(
        folder, open_source(a_plan(source=source), lambda: f"sqlite:///{folder}/a.db"), a_plan(source=source)
    )
    await bench.sweep(retries=True)
    (letter,) = await bench.dead()
    await bench.queue.close()
    return letter.error, letter.message


async def all_refused(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(50))
    bench.source.refused = set(bench.source.stale_keys)
    return await swept(bench)


async def above_approval(folder: Path) -> Answer:
    return await swept(Workbench(folder, MemorySource(10), a_plan(limits=RowLimits(approve_above_rows=5))))


async def naive_zone(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10), a_plan(match=(Match("before", "at"),), write=Write()))
    bench.source.warnings = (("naive-time-zone", 'column "at" has no time zone'),)
    return await swept(bench)


REFUSING = """
CREATE TABLE things (id INTEGER PRIMARY KEY, status TEXT NOT NULL);
INSERT INTO things VALUES (1, 'old'), (2, 'old');
CREATE TRIGGER keeps BEFORE UPDATE ON things WHEN OLD.id = 2 BEGIN SELECT RAISE(IGNORE); END
"""


async def locked(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10))
    bench.source.locked = {key(3)}
    await bench.sweep()
    bench.source.locked = set()
    bench.source.poison = {key(3)}
    await bench.run(retries=True)
    (letter,) = await bench.dead()
    await bench.queue.close()
    assert [attempt.error for attempt in letter.attempts] == ["Locked", "23505", "23505", "23505"]
    return letter.attempts[0].error, letter.attempts[0].message


async def slow(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10))
    bench.source.slow = {key(3): 2.0}
    await bench.sweep(retries=True)
    (letter,) = await bench.dead()
    await bench.queue.close()
    return letter.error, letter.message


async def match_fails(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10))

    def down(call: str) -> None:
        if call == "cut":
            raise RowError("22012", "division by zero")

    bench.source.down = down
    return await swept(bench)


async def defect(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10))
    bench.source.cursed = {"write": {key(3)}}
    await bench.sweep(retries=True)
    (letter,) = await bench.dead()
    await bench.queue.close()
    return letter.error, letter.message


async def defect_while_planning(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10))

    def down(call: str) -> None:
        if call == "cut":
            raise ZeroDivisionError

    bench.source.down = down
    return await swept(bench)


async def dead_lettered(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10))
    context = bench.worker()._context
    job = Job(JobKind.KEYS, sweep="s", cutoff="now", keys=(key(3),), rows=1, suspect=True, crashes=5)
    result = await give_up(context, JobRun(Claim("1", "me", 6, job), lambda: 0.0))
    await bench.queue.close()
    row = result.settlement.dead[0]  # type: ignore[union-attr]
    return row.error, row.message


async def planning_kills(folder: Path) -> Answer:
    now = [1000.0]
    bench = Workbench(folder, MemorySource(10), clock=lambda: now[0])
    await bench.open()
    limits = bench.plan.queue_limits
    for delivery in range(1, 8):
        (claim,) = (await bench.queue.claim(bench.plan.ref, f"victim {delivery}", 1, limits)).jobs
        assert claim.delivery == delivery
        if redelivery_policy(claim) is RedeliveryPolicy.ALONE and (begun := with_crash(claim.job)) is not None:
            begin = Settlement(claim, rest=begun)
            assert (await bench.queue.settle(bench.plan.ref, claim.consumer, (begin,), 0, limits)).lost == ()
        now[0] += 60
    stats = await bench.run()
    await bench.queue.close()
    assert stats.sweep is not None
    return stats.sweep.reason, stats.sweep.message


async def plan_changed(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10))
    await bench.open()
    bench.plan = msgspec.structs.replace(bench.plan, generation=2, retry=RetryPolicy(max_attempts=7))
    stats = await bench.run()
    await bench.queue.close()
    return stats.history[0].reason, stats.history[0].message


async def source_changed(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10))
    claim = await planned_elsewhere(bench)
    await bench.queue.release(bench.plan.ref, [claim])
    stats = await bench.run()
    await bench.queue.close()
    return stats.history[0].reason, stats.history[0].message


async def other_table(folder: Path) -> Answer:
    bench = Workbench(folder, MemorySource(10))
    bench.source.poison = {key(3)}
    await bench.sweep(retries=True)
    await bench.queue.replay(bench.plan.ref)
    moved(bench)
    await bench.run(retries=True)
    (letter,) = await bench.dead()
    await bench.queue.close()
    return letter.error, letter.message


CASES: dict[str, Case] = {
    "a handler raises ValueError": handled("raises"),
    "a handler calls sys.exit": handled("exits_politely"),
    "a handler raises asyncio.CancelledError": handled("cancels_itself"),
    "a handler raises Reject": handled("rejects"),
    "a handler raises RetryAfter": handled("later"),
    "a handler does not return in time": handled("hangs", timeout=0.05),
    "a handler reads a column that it was not given": handled("asks_for_another_column"),
    "a handler's lifespan raises": handled("with_broken_lifespan"),
    "effect.handler is missing": handled("missing"),
    "effect.handler is not a function": handled("not_callable"),
    "the webhook answers 422": answered(422),
    "the webhook answers 301": answered(301),
    "the webhook answers 503": answered(503),
    "the webhook answers 429": answered(429),
    "the webhook does not answer": answered(0, timeout=0.05),
    "the webhook resets the connection": answered(-1),
    "the webhook answers 304": answered(304),
    "the webhook does not answer with HTTP": raw(b"220 mail.example.com ESMTP\r\n"),
    "the webhook's port is closed": nobody_listens,
    "the webhook's host is unknown": unknown_host,
    "HTTP_PROXY is not a proxy's URL": no_proxy,
    "a handler without write leaves its row stale": still_stale,
    "rows still match after the write": never_ends,
    "a trigger prevents the write of a row": refused,
    "no row is written although nothing fails": all_refused,
    "more than approveAbove.rows are stale": above_approval,
    "a first sweep deletes by times without a zone": naive_zone,
    "a row is locked by the application": locked,
    "a row alone takes longer than statementTimeout": slow,
    "a match condition fails on a row": match_fails,
    "a row crashed five workers": dead_lettered,
    "planning crashed five workers": planning_kills,
    "the schedule changes while its sweep runs": plan_changed,
    "another URL or table is set while a sweep is planned for the old one": source_changed,
    "a row of another table is retried": other_table,
    "one row provokes an unexpected exception of the worker": defect,
    "planning provokes an unexpected exception of the worker": defect_while_planning,
    "a handler returns a generator": handled("returns_a_generator"),
    "a handler returns an unfinished future": handled("returns_a_future"),
    "effect.handler is a generator": handled("generates"),
    "effect.handler does not take (row, ctx)": handled("takes_one"),
}
