from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kubesweep.api.plan import RowLimits
from kubesweep.errors import Outage
from kubesweep.queue.model import Claim, Job, JobKind, Limits, SweepState
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_worker.in_flight import InFlightJobs, JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.plan_job import run_plan
from kubesweep_worker.runtime.heartbeat import Heartbeat
from kubesweep_worker.runtime.worker import Worker
from kubesweep_worker.settings import EXIT_DEADLINE, WorkerSettings
from kubesweep_worker.sources.base import Predicate
from tests.kits.deadlines import scaled
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect

T = TypeVar("T")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(1000))
    yield made
    await made.queue.close()


class Moody(SqliteQueue):
    """A queue that is away for a while, once a job was claimed."""

    away = 0
    only: tuple[str, ...] = ("settle", "claim", "advance", "wait", "stats", "excluded")

    def __getattribute__(self, name: str) -> Any:
        if name in Moody.only and Moody.away > 0:
            Moody.away -= 1

            async def refuse(*_: object) -> None:
                raise Outage("QueueBusy", "locked")

            return refuse
        return super().__getattribute__(name)


async def test_results_are_kept_in_hand_while_the_queue_is_away(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "connect", lambda: Moody(str(bench.folder / "queue.db")))
    bench.settings = WorkerSettings(backoff=0.001, max_backoff=0.01)
    await bench.open()
    write = bench.source.write

    async def write_then_lose_the_queue(*args: Any, **options: Any) -> Any:
        written = await write(*args, **options)
        if len(bench.source.writes) in (1, 5):
            Moody.away = 12
        return written

    bench.source.write = write_then_lose_the_queue
    stats = await bench.run()
    assert Moody.away == 0
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.unconfirmed, stats.sweep.skipped) == (1000, 0, 0)


async def test_stopping_cancels_a_write_and_gives_its_job_back_as_maybe(bench: Workbench) -> None:
    await bench.open()
    bench.source.gate.clear()
    worker = bench.worker(concurrency=1)
    running = asyncio.create_task(worker.run())
    await bench.source.writing.wait()
    worker.stop()
    assert await running == 0
    stats = await bench.stats()
    assert (stats.running, stats.ready, bench.source.writes) == (0, 10, [])
    bench.source.gate.set()
    stats = await bench.run()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.state) == (1000, SweepState.COMPLETED)


async def test_stopping_in_the_middle_of_halving_keeps_what_was_applied(bench: Workbench) -> None:
    bench.source.poison = {key(i) for i in range(0, 100, 7)}
    await bench.open()
    worker = bench.worker(concurrency=1)
    write, seen = bench.source.write, 0

    async def stop_at_the_tenth(*args: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 10:
            worker.stop()
            await asyncio.Event().wait()
        return await write(*args, **options)

    bench.source.write = stop_at_the_tenth
    await worker.run()
    part = (await bench.stats()).sweep
    assert part is not None
    assert part.applied == 1000 - len(bench.source.stale_keys) > 0
    bench.source.write = write
    done = (await bench.run()).sweep
    assert done is not None
    assert (done.applied, done.retrying, done.unconfirmed) == (985, 15, 0)


async def test_a_job_that_crashed_twice_runs_alone(tmp_path: Path) -> None:
    now = [1000.0]
    bench = Workbench(tmp_path, MemorySource(1000), clock=lambda: now[0])
    await bench.open()
    await _plan_only(bench)
    for delivery in (1, 2):
        claims = await bench.queue.claim(bench.plan.ref, f"victim {delivery}", 3, Limits())
        assert {claim.delivery for claim in claims.jobs} == {delivery}
        now[0] += 60
    busy, most, beside, full = 0, 0, 0, asyncio.Event()
    write = bench.source.write

    async def count(scope: Any, *args: Any, **options: Any) -> Any:
        nonlocal busy, most, beside
        busy += 1
        most = max(most, busy)
        if most == 4:
            full.set()
        if scope.high <= key(299):
            beside = max(beside, busy)
            await asyncio.sleep(0.01)  # time for others to begin, if they may
            beside = max(beside, busy)
        else:
            await full.wait()
        busy -= 1
        return await write(scope, *args, **options)

    bench.source.write = count
    async with asyncio.timeout(scaled(60)):
        await bench.worker(concurrency=4).run(until_settled=True)
    stats = await bench.stats()
    await bench.queue.close()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.state) == (1000, SweepState.COMPLETED)
    assert (beside, most) == (1, 4)


async def _plan_only(bench: Workbench) -> None:
    (claim,) = (await bench.queue.claim(bench.plan.ref, "planner", 1, Limits())).jobs
    context = JobContext(bench.plan, bench.queue, bench.source, None, bench.settings)
    await run_plan(context, JobRun(claim, lambda: 0.0))


async def test_a_job_whose_lease_was_lost_settles_nothing(bench: Workbench) -> None:
    bench.plan, bench.effect = with_effect(a_plan()), ScriptedEffect()
    worker = bench.worker(concurrency=1)

    def lose_it(delivery: object) -> None:
        for run in worker._in_flight.all():
            run.lost = True
        worker.stop()

    bench.effect.script = lose_it
    await bench.open()
    await worker.run()
    stats = await bench.stats()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.running) == (0, 1)


async def test_a_paused_queue_is_left_alone_and_gone_on_with(bench: Workbench) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) >= 3:  # an alarm may be cancelled half-way, so more than one says it
            await bench.queue.pause(bench.plan.ref, False)
        await asyncio.sleep(0)

    await bench.open()
    await bench.queue.pause(bench.plan.ref, True)
    now = [0.0]

    async def tick(seconds: float) -> None:
        await sleep(seconds)
        now[0] += seconds

    bench.settings = WorkerSettings(monotonic=lambda: now[0], sleep=tick, deadline=1e9)
    stats = await bench.run()
    assert stats.sweep is not None
    assert stats.sweep.applied == 1000


async def test_a_worker_without_anything_to_do_returns_once_told_that_the_sweep_is_settled(bench: Workbench) -> None:
    async with asyncio.timeout(scaled(60)):
        assert await bench.worker().run(until_settled=True) == 0


async def test_the_row_budget_is_respected_and_the_sweep_still_finishes(tmp_path: Path) -> None:
    now = [1000.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        await asyncio.sleep(0)

    plan = a_plan(limits=RowLimits(batch_rows=50, rows_per_second=100.0))
    settings = WorkerSettings(monotonic=lambda: now[0], sleep=sleep, deadline=1e9)
    bench = Workbench(tmp_path, MemorySource(1000), plan, settings=settings, clock=lambda: now[0])
    stats = await bench.sweep()
    await bench.queue.close()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied) == (SweepState.COMPLETED, 1000)
    assert now[0] - 1000.0 >= (1000 - 200) / 100.0


class Beats:
    """A queue that only knows heartbeats."""

    def __init__(self) -> None:
        self.extended: list[tuple[str, ...]] = []
        self.lost: tuple[str, ...] = ()

    async def close(self) -> None:
        return None

    async def extend(self, ref: object, claims: Sequence[Claim], lease: float) -> tuple[str, ...]:
        self.extended.append(tuple(claim.id for claim in claims))
        return self.lost


async def test_the_heartbeat_extends_what_is_in_hand_and_marks_what_is_lost() -> None:
    in_flight, beats, now = InFlightJobs(), Beats(), [0.0]
    settings = WorkerSettings(monotonic=lambda: now[0])
    runs = [JobRun(Claim(str(i), "me", 1, Job(JobKind.RANGE)), settings.monotonic) for i in range(3)]
    for run in runs:
        in_flight.add(run)
    beats.lost = ("1",)
    heartbeat = Heartbeat(a_plan().ref, in_flight, settings, lambda: beats)  # type: ignore[arg-type,return-value]
    await heartbeat.beat(beats)  # type: ignore[arg-type]
    assert beats.extended == [("0", "1", "2")]
    assert [run.lost for run in runs] == [False, True, False]
    now[0] = 299.0
    runs[2].touch()
    runs[0].finished = True
    now[0] = 301.0
    await heartbeat.beat(beats)  # type: ignore[arg-type]
    assert beats.extended[-1] == ("0", "2")  # 1 made no progress for longer than the deadline


async def test_a_job_past_its_deadline_ends_the_process() -> None:
    died, codes, in_flight = threading.Event(), [], InFlightJobs()

    def die(code: int) -> None:
        codes.append(code)
        died.set()

    settings = WorkerSettings(lease=0.03, deadline=0.05, die=die)
    in_flight.add(JobRun(Claim("1", "me", 1, Job(JobKind.RANGE)), settings.monotonic))
    heartbeat = Heartbeat(a_plan().ref, in_flight, settings, Beats)  # type: ignore[arg-type]
    heartbeat.start()
    assert await asyncio.to_thread(died.wait, scaled(60))
    in_flight.remove("1")
    await heartbeat.close()
    assert codes[0] == EXIT_DEADLINE


def test_a_finished_job_stays_in_hand_until_it_is_settled() -> None:
    in_flight = InFlightJobs()
    run = JobRun(Claim("1", "me", 1, Job(JobKind.RANGE)), lambda: 0.0)
    in_flight.add(run)
    assert in_flight.running() == (run,)
    run.finished = True
    assert (in_flight.running(), in_flight.all()) == ((), (run,))
    in_flight.remove("1")
    in_flight.mark_lost("1")
    assert in_flight.all() == ()
    assert not run.lost


class Counting(SqliteQueue):
    """Remembers which moves were asked for, and how many jobs each claim wanted."""

    asked: list[str]
    wanted: list[int]

    async def excluded(self, *given: Any) -> Any:
        self.asked.append("excluded")
        return await super().excluded(*given)

    async def report(self, *given: Any) -> None:
        self.asked.append("report")
        await super().report(*given)

    async def claim(self, ref: Any, consumer: str, want: int, limits: Limits) -> Any:
        self.wanted.append(want)
        return await super().claim(ref, consumer, want, limits)

    async def settle(self, ref: Any, consumer: str, settlements: Any, want: int, limits: Limits) -> Any:
        self.wanted.append(want)
        return await super().settle(ref, consumer, settlements, want, limits)


async def test_many_slots_are_filled_by_halves(tmp_path: Path) -> None:
    slots = 60
    bench = Workbench(tmp_path, MemorySource(100 * slots))
    bench.plan = a_plan(max_replicas=slots, jobs_per_replica=1)
    Counting.asked, Counting.wanted = [], []
    bench.connect = lambda: Counting(str(tmp_path / "queue.db"))  # type: ignore[method-assign]
    bench.source.gate.clear()
    all_in_hand, writes = asyncio.Event(), 0
    write = bench.source.write

    async def count_then_write(*args: Any, **options: Any) -> Any:
        nonlocal writes
        writes += 1
        if writes == slots:
            all_in_hand.set()
        return await write(*args, **options)

    bench.source.write = count_then_write
    await bench.open()
    async with asyncio.timeout(scaled(60)):
        running = asyncio.create_task(bench.worker(concurrency=slots).run(until_settled=True))
        await all_in_hand.wait()
        assert max(Counting.wanted) == slots // 2
        bench.source.gate.set()
        await running
    stats = await bench.stats()
    assert stats.sweep is not None
    assert stats.sweep.applied == 100 * slots
    await bench.queue.close()


async def test_jobs_that_start_together_ask_the_queue_and_tell_it_once(tmp_path: Path) -> None:
    queue, plan = Counting(str(tmp_path / "queue.db")), a_plan()
    Counting.asked = []
    context = JobContext(plan, queue, MemorySource(0), None, WorkerSettings())
    job = Job(JobKind.RANGE, plan.version)
    assert await asyncio.gather(*(context.predicate(job, "now") for _ in range(50))) == [Predicate("now")] * 50
    await asyncio.gather(*(context.findings.report_success("SourceReady") for _ in range(50)))
    assert sorted(Counting.asked) == ["excluded", "report"]
    context.set_excluded_version(7)
    await asyncio.gather(*(context.predicate(job, "now") for _ in range(50)))
    assert sorted(Counting.asked) == ["excluded", "excluded", "report"]
    await queue.close()


class OneClaimAtATime(SqliteQueue):
    """Fails where a second claim is made while one is under way, and remembers what was given back."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.under_way = 0
        self.loop: asyncio.Task[int] | None = None  # whose claims are the loop's own, not those of claim_next
        self.waits = asyncio.Event()
        self.back: list[str] = []

    async def _alone(self, claim: Awaitable[T]) -> T:
        assert self.under_way == 0
        self.under_way += 1
        try:
            return await claim
        finally:
            self.under_way -= 1

    async def claim_next(self, ref: Any, consumer: str, want: int, limits: Limits, timeout: float) -> Any:
        self.waits.set()
        return await self._alone(super().claim_next(ref, consumer, want, limits, timeout))

    async def claim(self, ref: Any, consumer: str, want: int, limits: Limits) -> Any:
        claiming = super().claim(ref, consumer, want, limits)
        return await (self._alone(claiming) if asyncio.current_task() is self.loop else claiming)

    async def settle(self, ref: Any, consumer: str, settlements: Any, want: int, limits: Limits) -> Any:
        settling = super().settle(ref, consumer, settlements, want, limits)
        return await (self._alone(settling) if want else settling)

    async def release(self, ref: Any, claims: Sequence[Claim]) -> tuple[str, ...]:
        self.back += [claim.id for claim in claims]
        return await super().release(ref, claims)


async def test_a_claim_that_waits_is_the_only_one_and_a_stop_takes_it_back(bench: Workbench) -> None:
    queue = OneClaimAtATime(str(bench.folder / "queue.db"))
    worker = Worker(bench.plan, queue, bench.source, None, bench.settings, bench.connect)
    running = queue.loop = asyncio.create_task(worker.run())
    await queue.waits.wait()
    for tick in range(3):
        bench.source.stale_keys = {key(i) for i in range(500)}
        await bench.open(tick=2000.0 + tick)
        while (sweep := (await bench.stats()).sweep) is None or not sweep.state.settled:
            assert not running.done(), running.result()
            await bench.queue.wait(bench.plan.ref, 0.01)
        assert (sweep.state, sweep.applied) == (SweepState.COMPLETED, 500)
    worker.stop()
    assert await running == 0
    assert (await bench.stats()).running == 0
    assert queue.under_way == 0


async def test_a_job_that_comes_after_the_gate_has_shut_is_given_back_and_done_later(bench: Workbench) -> None:
    queue = OneClaimAtATime(str(bench.folder / "queue.db"))
    worker = Worker(bench.plan, queue, bench.source, None, bench.settings, bench.connect)

    def away(_: str) -> None:
        raise Outage("Away", "the database is away")

    running = asyncio.create_task(worker.run())
    await queue.waits.wait()
    bench.source.down = away
    worker._context.pause_claiming(Outage("Away", "the database is away"))
    sweep = await bench.open()
    while not queue.back:
        await bench.queue.wait(bench.plan.ref, 0.01)
    bench.source.down = lambda _: None
    while (now := (await bench.stats()).sweep) is None or not now.state.settled:
        await bench.queue.wait(bench.plan.ref, 0.01)
    assert (now.id, now.state, now.applied) == (sweep, SweepState.COMPLETED, 1000)
    worker.stop()
    await running
