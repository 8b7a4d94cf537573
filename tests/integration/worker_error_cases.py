"""The cases of docs/errors.md, section "Worker": each returns the code and the text of its failure.

The cases of effects are in effect_error_cases.py.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from kubesweep.api.plan import RetryPolicy, Source
from kubesweep.errors import RowError
from kubesweep.queue.model import Claim, Job, JobKind, Settlement
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.poison_job import give_up
from kubesweep_worker.jobs.redelivery import RedeliveryPolicy, redelivery_policy, with_crash
from kubesweep_worker.sources import open_source
from tests.integration.approval_cases import APPROVAL_CASES, swept
from tests.integration.effect_error_cases import EFFECT_CASES, Answer, Case
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect
from tests.unit.worker.test_other_origin import moved, planned_elsewhere


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


CASES: dict[str, Case] = EFFECT_CASES | {
    "a handler without write leaves its row stale": still_stale,
    "rows still match after the write": never_ends,
    "a trigger prevents the write of a row": refused,
    "no row is written although nothing fails": all_refused,
    **APPROVAL_CASES,
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
}
