"""The decisions of a run over a real queue, with a clock that the test sets, and without workers."""

from __future__ import annotations

import sqlite3
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


class RecordingScreen:
    """A screen that records what it shows."""

    interval = 0.0

    def __init__(self) -> None:
        self.views: Sequence[ScheduleView] = ()
        self.messages: list[str] = []
        self.updates = 0

    def update(self, views: Sequence[ScheduleView], now: float) -> None:
        self.views = views
        self.updates += 1

    def show_message(self, text: str, style: str = "") -> None:
        self.messages.append(text)

    def hint(self, text: str) -> None:
        self.messages.append(text)


class RunnerKit:
    def __init__(self, folder: Path) -> None:
        self.folder, self.time, self.screen = folder, Time(), RecordingScreen()
        self.url = f"sqlite:///{folder / 'queue.db'}"
        self.queue: QueueService = connect(self.url, clock=self.time)

    def schedule(self, name: str = "a", extra: str = "") -> list[Loaded]:
        file = self.folder / f"{name}.yaml"
        file.write_text(SWEEP.replace("NAME", name).replace("EXTRA", extra))
        return load([file], url="sqlite:///t.db")

    def runner(self, loaded: Sequence[Loaded], *, once: bool = False, clock: bool = True) -> Runner:
        settings = RunSettings(once=once, clock=clock)
        return Runner(loaded, self.queue, WorkerGroup([]), self.screen, settings, self.time)

    async def stats(self, loaded: Sequence[Loaded]) -> Stats:
        (stats,) = await self.queue.stats([loaded[0].ref])
        return stats

    async def finish(self, loaded: Sequence[Loaded]) -> None:
        """End the open sweep like a worker that finds no stale row."""
        plan = loaded[0].plan
        claims = await self.queue.claim(plan.ref, "w", 1, plan.queue_limits)
        assert await self.queue.advance(plan.ref, claims.jobs[0], Window(cutoff="x"))


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[RunnerKit]:
    made = RunnerKit(tmp_path)
    yield made
    await made.queue.close()


async def test_a_schedule_ticks_at_its_time_and_not_before(kit: RunnerKit) -> None:
    loaded = kit.schedule()
    runner = kit.runner(loaded)
    await runner.step()
    assert not (await kit.stats(loaded)).known
    kit.time.now = 1020.0
    await runner.step()
    await runner.step()
    stats = await kit.stats(loaded)
    assert (stats.last_tick, stats.ticks.enqueued, stats.ticks.duplicate) == (1020.0, 1, 0)


async def test_ticks_missed_between_two_runs_are_one_tick(kit: RunnerKit) -> None:
    loaded = kit.schedule()
    first = kit.runner(loaded)
    await first.step()
    kit.time.now = 1020.0
    await first.step()
    await kit.finish(loaded)
    kit.time.now = 5000.0
    second = kit.runner(loaded)
    await second.step()
    await second.step()
    stats = await kit.stats(loaded)
    assert (stats.last_tick, stats.ticks.enqueued) == (4980.0, 2)


@pytest.mark.parametrize("between", ["every: 59s", "every: 60s\n  suspend: true"])
async def test_a_tick_that_had_passed_when_the_schedule_was_edited_or_resumed_does_not_run(
    kit: RunnerKit, between: str
) -> None:
    first = kit.runner(kit.schedule())
    await first.step()
    kit.time.now = 1020.0
    await first.step()
    kit.time.now = 5000.0
    file = kit.folder / "a.yaml"
    file.write_text(file.read_text().replace("every: 60s", between))
    await kit.runner(load([file], url="sqlite:///t.db")).step()
    kit.time.now = 9000.0
    loaded = kit.schedule()
    await kit.finish(loaded)
    last = kit.runner(loaded)
    await last.step()
    await last.step()
    assert (await kit.stats(loaded)).last_tick == 1020.0
    kit.time.now = 9060.0
    await last.step()
    assert (await kit.stats(loaded)).last_tick == 9060.0


async def test_a_missed_tick_older_than_the_deadline_is_said_and_not_run(kit: RunnerKit) -> None:
    loaded = kit.schedule(extra="startingDeadlineSeconds: 10")
    runner = kit.runner(loaded)
    await runner.step()
    kit.time.now = 1075.0
    await runner.step()
    await runner.step()
    stats = await kit.stats(loaded)
    assert (stats.sweep, stats.ticks.late, stats.ticks.enqueued) == (None, 1, 0)
    assert [text for text in kit.screen.messages if "missed by 55 s" in text] == kit.screen.messages
    assert len(kit.screen.messages) == 1


async def test_a_tick_that_meets_an_unfinished_sweep_is_skipped_and_said(kit: RunnerKit) -> None:
    loaded = kit.schedule()
    runner = kit.runner(loaded)
    await runner.step()
    for kit.time.now in (1020.0, 1080.0):
        await runner.step()
    assert (await kit.stats(loaded)).ticks.forbidden == 1
    assert [text for text in kit.screen.messages if "skipped" in text] == kit.screen.messages


async def test_a_suspended_schedule_is_never_ticked(kit: RunnerKit) -> None:
    loaded = kit.schedule(extra="suspend: true")
    runner = kit.runner(loaded)
    for kit.time.now in (1000.0, 1020.0, 2000.0):
        await runner.step()
    assert not (await kit.stats(loaded)).known
    assert kit.screen.views[0].state == "suspended"


async def test_a_worker_alone_ticks_nothing(kit: RunnerKit) -> None:
    loaded = kit.schedule()
    runner = kit.runner(loaded, clock=False)
    for kit.time.now in (1000.0, 1020.0):
        await runner.step()
    assert not (await kit.stats(loaded)).known


async def test_a_running_sweep_that_the_queue_has_lost_is_recovered_at_once(kit: RunnerKit) -> None:
    loaded = kit.schedule()
    runner = kit.runner(loaded)
    await runner.step()
    kit.time.now = 1020.0
    await runner.step()
    await runner.step()
    await kit.queue.forget(loaded[0].ref)
    kit.time.now = 1030.0
    await runner.step()
    stats = await kit.stats(loaded)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.last_tick) == (SweepState.PLANNING, 1030.0)
    assert any("Lost" in text for text in kit.screen.messages)
    assert kit.screen.views[0].state == "Lost"
    kit.time.now = 1040.0
    await runner.step()
    assert (await kit.stats(loaded)).ticks.enqueued == 1
    assert kit.screen.views[0].state == "Planning"


async def test_a_sweep_that_is_lost_before_the_first_reading_is_recovered(kit: RunnerKit) -> None:
    loaded = kit.schedule()
    runner = kit.runner(loaded)
    await runner.step()
    kit.time.now = 1020.0
    await runner.step()
    await kit.queue.forget(loaded[0].ref)
    kit.time.now = 1021.0
    await runner.step()
    stats = await kit.stats(loaded)
    assert (stats.last_tick, stats.ticks.enqueued) == (1021.0, 1)


async def test_a_lost_sweep_is_recovered_even_if_the_queues_clock_is_ahead(kit: RunnerKit) -> None:
    loaded = kit.schedule(extra="startingDeadlineSeconds: 10")
    plan, hour = loaded[0].plan, 3600.0
    kit.time.now = 100 * hour
    late = Runner(loaded, kit.queue, WorkerGroup([]), kit.screen, RunSettings(), lambda: kit.time.now - hour)
    await kit.queue.open_sweep(plan.ref, SweepRequest(tick=99 * hour, plan=plan.version))
    await late.step()
    await kit.queue.forget(plan.ref)
    await late.step()
    stats = await kit.stats(loaded)
    assert (stats.ticks.late, stats.ticks.enqueued) == (0, 1)


async def test_a_settled_sweep_that_the_queue_lost_is_not_recovered(kit: RunnerKit) -> None:
    loaded = kit.schedule()
    runner = kit.runner(loaded)
    await runner.step()
    kit.time.now = 1020.0
    await runner.step()
    await kit.finish(loaded)
    await runner.step()
    await kit.queue.forget(loaded[0].ref)
    kit.time.now = 1030.0
    await runner.step()
    assert not (await kit.stats(loaded)).known


async def test_many_schedules_are_one_update(kit: RunnerKit) -> None:
    loaded = [*kit.schedule("a"), *kit.schedule("b"), *kit.schedule("c")]
    runner = kit.runner(loaded)
    await runner.step()
    assert [one.name for one in kit.screen.views] == ["a", "b", "c"]
    assert kit.screen.updates == 1


async def test_once_does_not_wait_for_a_sweep_that_waits_for_approval(kit: RunnerKit) -> None:
    loaded = kit.schedule()
    runner = kit.runner(loaded, once=True)
    plan = loaded[0].plan
    await kit.queue.open_sweep(plan.ref, runner.schedules[0].tick_request(960.0))
    claims = await kit.queue.claim(plan.ref, "w", 1, plan.queue_limits)
    assert await kit.queue.end_sweep(
        plan.ref, claims.jobs[0], SweepState.AWAITING_APPROVAL, "AwaitingApproval", "too many rows"
    )
    ending = await runner.run()
    assert not ending.interrupted
    assert ending.code == 1


async def test_an_interrupt_ends_a_run_with_130(kit: RunnerKit) -> None:
    runner = kit.runner(kit.schedule())
    runner.interrupt()
    ending = await runner.run()
    assert ending.code == 130


async def test_a_damaged_schedule_starts_over_and_the_others_continue(kit: RunnerKit) -> None:
    loaded = [*kit.schedule("a"), *kit.schedule("b")]
    runner = kit.runner(loaded)
    await runner.step()
    kit.time.now = 1020.0
    await runner.step()
    (before,) = await kit.queue.stats([loaded[1].ref])
    with sqlite3.connect(kit.folder / "queue.db") as connection:
        connection.execute("UPDATE sweep SET state = 'Odd' WHERE schedule = (SELECT id FROM schedule WHERE name = 'a')")
    connection.close()
    await runner.step()
    damaged, lost = kit.screen.messages[-2:]
    assert damaged.startswith("a: queue ")
    assert lost == "a: Lost: the queue has lost the sweep that was running; starting a new one from the database."
    again, other = await kit.queue.stats([each.ref for each in loaded])
    assert again.sweep is not None
    assert again.sweep.state is SweepState.PLANNING
    assert other.sweep == before.sweep
