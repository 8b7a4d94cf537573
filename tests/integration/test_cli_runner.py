"""The run's own decisions over a real queue, with a clock of the test's own and no worker: nobody sleeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from kubesweep.api.loading.files import Loaded, load
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Stats, SweepRequest, SweepState, Window
from kubesweep.queue.service import QueueService
from kubesweep_cli.runner.runner import Runner, RunSettings
from kubesweep_cli.runner.worker_group import WorkerGroup
from kubesweep_cli.views.schedule_view import ScheduleView

SWEEP = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: NAME}
spec:
  every: 60s
  EXTRA
  source: {urlFrom: {secretKeyRef: {name: db, key: url}}, table: t}
  match: [{column: a, before: now}]
  write: {update: [{column: b, value: x}]}
"""


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Paper:
    """A screen that keeps what it was shown."""

    interval = 0.0

    def __init__(self) -> None:
        self.views: Sequence[ScheduleView] = ()
        self.remarks: list[str] = []
        self.pictures = 0

    def update(self, views: Sequence[ScheduleView], now: float) -> None:
        self.views = views
        self.pictures += 1

    def remark(self, text: str, style: str = "") -> None:
        self.remarks.append(text)

    def hint(self, text: str) -> None:
        self.remarks.append(text)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.time, self.paper = folder, Time(), Paper()
        self.url = f"sqlite:///{folder / 'queue.db'}"
        self.queue: QueueService = connect(self.url, clock=self.time)

    def schedule(self, name: str = "a", extra: str = "") -> list[Loaded]:
        file = self.folder / f"{name}.yaml"
        file.write_text(SWEEP.replace("NAME", name).replace("EXTRA", extra))
        return load([file], url="sqlite:///t.db")

    def runner(self, loaded: Sequence[Loaded], **settings: bool) -> Runner:
        return Runner(loaded, self.queue, WorkerGroup([]), self.paper, RunSettings(**settings), self.time)

    async def stats(self, loaded: Sequence[Loaded]) -> Stats:
        (stats,) = await self.queue.stats([loaded[0].ref])
        return stats

    async def finish(self, loaded: Sequence[Loaded]) -> None:
        """End the open sweep as a worker that finds nothing stale would."""
        plan = loaded[0].plan
        claims = await self.queue.claim(plan.ref, "w", 1, plan.queue_limits)
        assert await self.queue.advance(plan.ref, claims.jobs[0], Window(cutoff="x"))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.queue.close()


async def test_a_schedule_ticks_at_its_time_and_not_before(bench: Bench) -> None:
    loaded = bench.schedule()
    runner = bench.runner(loaded)
    await runner.step()
    assert not (await bench.stats(loaded)).known
    bench.time.now = 1020.0
    await runner.step()
    await runner.step()
    stats = await bench.stats(loaded)
    assert (stats.last_tick, stats.ticks.enqueued, stats.ticks.duplicate) == (1020.0, 1, 0)


async def test_ticks_missed_while_nobody_ran_are_one_tick(bench: Bench) -> None:
    loaded = bench.schedule()
    first = bench.runner(loaded)
    await first.step()
    bench.time.now = 1020.0
    await first.step()
    await bench.finish(loaded)
    bench.time.now = 5000.0
    second = bench.runner(loaded)
    await second.step()
    await second.step()
    stats = await bench.stats(loaded)
    assert (stats.last_tick, stats.ticks.enqueued) == (4980.0, 2)


@pytest.mark.parametrize("between", ["every: 59s", "every: 60s\n  suspend: true"])
async def test_a_tick_that_had_passed_when_the_schedule_was_edited_or_resumed_does_not_run(
    bench: Bench, between: str
) -> None:
    first = bench.runner(bench.schedule())
    await first.step()
    bench.time.now = 1020.0
    await first.step()
    bench.time.now = 5000.0
    file = bench.folder / "a.yaml"
    file.write_text(file.read_text().replace("every: 60s", between))
    await bench.runner(load([file], url="sqlite:///t.db")).step()
    bench.time.now = 9000.0
    loaded = bench.schedule()
    await bench.finish(loaded)
    last = bench.runner(loaded)
    await last.step()
    await last.step()
    assert (await bench.stats(loaded)).last_tick == 1020.0
    bench.time.now = 9060.0
    await last.step()
    assert (await bench.stats(loaded)).last_tick == 9060.0


async def test_a_missed_tick_older_than_the_deadline_is_said_and_not_run(bench: Bench) -> None:
    loaded = bench.schedule(extra="startingDeadlineSeconds: 10")
    runner = bench.runner(loaded)
    await runner.step()
    bench.time.now = 1075.0
    await runner.step()
    await runner.step()
    stats = await bench.stats(loaded)
    assert (stats.sweep, stats.ticks.late, stats.ticks.enqueued) == (None, 1, 0)
    assert [text for text in bench.paper.remarks if "missed by 55 s" in text] == bench.paper.remarks
    assert len(bench.paper.remarks) == 1


async def test_a_tick_that_meets_an_unfinished_sweep_is_skipped_and_said(bench: Bench) -> None:
    loaded = bench.schedule()
    runner = bench.runner(loaded)
    await runner.step()
    for bench.time.now in (1020.0, 1080.0):
        await runner.step()
    assert (await bench.stats(loaded)).ticks.forbidden == 1
    assert [text for text in bench.paper.remarks if "skipped" in text] == bench.paper.remarks


async def test_a_suspended_schedule_is_never_ticked(bench: Bench) -> None:
    loaded = bench.schedule(extra="suspend: true")
    runner = bench.runner(loaded)
    for bench.time.now in (1000.0, 1020.0, 2000.0):
        await runner.step()
    assert not (await bench.stats(loaded)).known
    assert bench.paper.views[0].state == "suspended"


async def test_a_worker_alone_ticks_nothing(bench: Bench) -> None:
    loaded = bench.schedule()
    runner = bench.runner(loaded, clock=False)
    for bench.time.now in (1000.0, 1020.0):
        await runner.step()
    assert not (await bench.stats(loaded)).known


async def test_a_running_sweep_that_the_queue_has_lost_is_started_anew_at_once(bench: Bench) -> None:
    loaded = bench.schedule()
    runner = bench.runner(loaded)
    await runner.step()
    bench.time.now = 1020.0
    await runner.step()
    await runner.step()
    await bench.queue.forget(loaded[0].ref)
    bench.time.now = 1030.0
    await runner.step()
    stats = await bench.stats(loaded)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.last_tick) == (SweepState.PLANNING, 1030.0)
    assert any("Lost" in text for text in bench.paper.remarks)
    assert bench.paper.views[0].state == "Lost"
    bench.time.now = 1040.0
    await runner.step()
    assert (await bench.stats(loaded)).ticks.enqueued == 1
    assert bench.paper.views[0].state == "Planning"


async def test_a_sweep_that_is_lost_before_anybody_saw_it_is_started_anew(bench: Bench) -> None:
    loaded = bench.schedule()
    runner = bench.runner(loaded)
    await runner.step()
    bench.time.now = 1020.0
    await runner.step()
    await bench.queue.forget(loaded[0].ref)
    bench.time.now = 1021.0
    await runner.step()
    stats = await bench.stats(loaded)
    assert (stats.last_tick, stats.ticks.enqueued) == (1021.0, 1)


async def test_a_lost_sweep_is_started_anew_however_far_the_queues_clock_is_ahead(bench: Bench) -> None:
    loaded = bench.schedule(extra="startingDeadlineSeconds: 10")
    plan, hour = loaded[0].plan, 3600.0
    bench.time.now = 100 * hour
    late = Runner(loaded, bench.queue, WorkerGroup([]), bench.paper, RunSettings(), lambda: bench.time.now - hour)
    await bench.queue.open_sweep(plan.ref, SweepRequest(tick=99 * hour, plan=plan.version))
    await late.step()
    await bench.queue.forget(plan.ref)
    await late.step()
    stats = await bench.stats(loaded)
    assert (stats.ticks.late, stats.ticks.enqueued) == (0, 1)


async def test_a_settled_sweep_that_the_queue_forgot_needs_no_healing(bench: Bench) -> None:
    loaded = bench.schedule()
    runner = bench.runner(loaded)
    await runner.step()
    bench.time.now = 1020.0
    await runner.step()
    await bench.finish(loaded)
    await runner.step()
    await bench.queue.forget(loaded[0].ref)
    bench.time.now = 1030.0
    await runner.step()
    assert not (await bench.stats(loaded)).known


async def test_many_schedules_are_one_picture(bench: Bench) -> None:
    loaded = [*bench.schedule("a"), *bench.schedule("b"), *bench.schedule("c")]
    runner = bench.runner(loaded)
    await runner.step()
    assert [one.name for one in bench.paper.views] == ["a", "b", "c"]
    assert bench.paper.pictures == 1


async def test_once_ends_without_waiting_for_a_held_sweep(bench: Bench) -> None:
    loaded = bench.schedule()
    runner = bench.runner(loaded, once=True)
    plan = loaded[0].plan
    await bench.queue.open_sweep(plan.ref, runner.schedules[0].tick_request(960.0))
    claims = await bench.queue.claim(plan.ref, "w", 1, plan.queue_limits)
    assert await bench.queue.end_sweep(
        plan.ref, claims.jobs[0], SweepState.AWAITING_APPROVAL, "AwaitingApproval", "too many rows"
    )
    ending = await runner.run()
    assert not ending.interrupted
    assert ending.code == 1


async def test_an_interrupt_ends_a_run_with_130(bench: Bench) -> None:
    runner = bench.runner(bench.schedule())
    runner.interrupt()
    ending = await runner.run()
    assert ending.code == 130
