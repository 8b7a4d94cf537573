"""When a status is written, and that it is a fixed point of its own output."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import Job, JobKind, Settlement, SweepState, Window
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_controller.status.build_status import build_status
from tests.kits.controller import Clock, ScheduleSimulation


async def test_changed_digits_in_messages_of_others_are_no_news(sim: ScheduleSimulation) -> None:
    sim.child(stuck="ErrImagePull: read udp 10.90.0.1:36132->10.255.255.53:53: i/o timeout")
    await sim.reconcile()
    writes = sim.writes
    sim.wait(60)
    sim.child(stuck="ErrImagePull: read udp 10.90.0.1:60781->10.255.255.53:53: i/o timeout")
    await sim.reconcile()
    assert sim.writes == writes
    sim.child(stuck="ErrImagePull: unauthorized")
    await sim.reconcile()
    assert sim.writes == writes + 1


async def test_numbers_are_written_at_most_every_15_seconds_conditions_at_once(sim: ScheduleSimulation) -> None:
    await sim.ready()
    claim = await sim.start(100)
    await sim.settle(Settlement(claim, applied=1, rest=claim.job))
    await sim.reconcile()
    writes = sim.writes
    for _ in range(14):
        sim.wait(1)
        await sim.settle(Settlement(claim, applied=1, rest=claim.job))
        assert (await sim.reconcile())["lastSweep"]["applied"] == 1
    assert sim.writes == writes
    sim.wait(1)
    assert (await sim.reconcile())["lastSweep"]["applied"] == 15
    assert sim.writes == writes + 1
    sim.wait(1)
    await sim.settle(Settlement(claim, applied=1, rest=claim.job))
    sim.outage = Outage("QueueTimeout", "did not answer in time")
    assert await sim.condition("Ready") == ("False", "QueueUnavailable")
    assert sim.writes == writes + 2


async def test_the_beginning_and_the_end_of_a_sweep_are_written_at_once(sim: ScheduleSimulation) -> None:
    await sim.ready()
    claim = await sim.start(1)
    assert (await sim.reconcile())["lastSweep"]["state"] == "Running"
    sim.wait(1)
    await sim.settle(Settlement(claim, applied=1))
    status = await sim.reconcile()
    assert (status["lastSweep"]["state"], status["lastSweep"]["applied"]) == ("Completed", 1)


async def test_the_first_numbers_of_a_sweep_are_written_at_once_and_then_every_15_seconds(
    sim: ScheduleSimulation,
) -> None:
    await sim.ready()
    await sim.tick()
    assert (await sim.reconcile())["lastSweep"]["planned"] == 0
    writes, plan = sim.writes, await sim.claim()
    sim.wait(2)
    job = Job(JobKind.RANGE, sim.plan.version, plan.job.sweep, "cutoff", low=("0",), high=("9",), rows=100)
    assert await sim.queue.advance(sim.ref, plan, Window("cutoff", (job,), planned=100))
    assert (await sim.reconcile())["lastSweep"]["planned"] == 100
    claim, counts = await sim.claim(), []
    for _ in range(20):
        sim.wait(2)
        await sim.settle(Settlement(claim, applied=1, rest=claim.job))
        counts.append((await sim.reconcile())["lastSweep"]["applied"])
    assert (counts[0], sorted(set(counts))) == (1, [1, 9, 17])
    assert sim.writes == writes + 4


async def test_sweeps_that_come_every_few_seconds_are_written_like_numbers(sim: ScheduleSimulation) -> None:
    sim.edit(schedule=None, every="5s")
    await sim.ready()
    await sim.sweep()
    await sim.reconcile()
    writes = sim.writes
    for _ in range(24):
        sim.wait(5)
        await sim.sweep()
        await sim.reconcile()
    assert sim.writes == writes + 120 / 15


async def test_nothing_is_written_while_nothing_happens(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.dead_letter("1")
    sim.wait(60)
    await sim.reconcile()
    writes = sim.writes
    for _ in range(100):
        sim.wait(2.4)
        await sim.reconcile()
    assert sim.writes == writes


async def test_a_restarted_controller_writes_nothing(sim: ScheduleSimulation) -> None:
    """All decisions follow from the queue and the status itself."""
    await sim.ready()
    await sim.dead_letter("1")
    sim.wait(60)
    await sim.reconcile()
    observation = await sim.observation()
    assert build_status(observation) == observation.body["status"]


async def _wait(sim: ScheduleSimulation, seconds: float) -> None:
    sim.wait(seconds)


async def _set(sim: ScheduleSimulation, **fields: object) -> None:
    vars(sim).update(fields)


async def _child(sim: ScheduleSimulation, **fields: object) -> None:
    sim.child(**fields)


async def _edit(sim: ScheduleSimulation, **fields: object) -> None:
    sim.edit(**fields)


async def _fail(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.FAILED, "TableMissing", "no table")


ACTS: dict[str, Callable[[ScheduleSimulation], Awaitable[object]]] = {
    "wait": lambda sim: _wait(sim, 1.5),
    "later": lambda sim: _wait(sim, 300),
    "sweep": lambda sim: sim.sweep(2),
    "dead-letter": lambda sim: sim.dead_letter("1", "2"),
    "die otherwise": lambda sim: sim.dead_letter("3", error="HTTP 422"),
    "start": lambda sim: sim.tick(),
    "fail": _fail,
    "replay": lambda sim: sim.queue.replay(sim.ref),
    "purge": lambda sim: sim.queue.purge(sim.ref),
    "flush": lambda sim: sim.flush(),
    "check": lambda sim: sim.find(),
    "complain": lambda sim: sim.find(False, "TableMissing", "no table"),
    "queue down": lambda sim: _set(sim, outage=Outage("QueueAuth", "refused")),
    "queue up": lambda sim: _set(sim, outage=None),
    "refuse": lambda sim: _set(sim, refusal=SpecError("BadCron", "bad minute")),
    "accept": lambda sim: _set(sim, refusal=None),
    "late": lambda sim: sim.tick(sim.clock.now - 1, deadline=-10.0),
    "stuck": lambda sim: _child(sim, stuck="ImagePullBackOff"),
    "unstuck": lambda sim: _child(sim, stuck=None),
    "fired": lambda sim: _child(sim, cron_last=sim.clock.now // 300 * 300),
    "suspend": lambda sim: _edit(sim, suspend=True),
    "resume": lambda sim: _edit(sim, suspend=False),
}


async def _act(sim: ScheduleSimulation, act: str) -> None:
    """Perform the act where it is possible: a tick during a sweep is refused, and then there is nothing to claim."""
    sim.wait(0.7)
    if act in ("sweep", "dead-letter", "die otherwise", "fail"):
        (stats,) = await sim.queue.stats([sim.ref])
        if stats.ready or stats.running or (stats.sweep is not None and not stats.sweep.state.settled):
            return
    await ACTS[act](sim)


@settings(max_examples=60, deadline=None)
@given(acts=st.lists(st.sampled_from(sorted(ACTS)), min_size=1, max_size=25))
async def test_a_status_is_a_fixed_point_and_no_condition_flaps(acts: list[str]) -> None:
    """After any acts, the same observation is written once, even if it is repeated much later."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        queue = SqliteQueue(str(Path(folder) / "queue.db"), clock=clock)
        sim = ScheduleSimulation(queue, clock)
        for act in acts:
            await _act(sim, act)
            initial = await sim.reconcile()
            assert await sim.reconcile() == initial
        sim.child(cron_since=None)  # waiting alone misses no tick
        sim.wait(15)
        settled = await sim.reconcile()
        text = [(each["type"], each["status"], each["reason"]) for each in settled["conditions"]]
        for _ in range(3):
            sim.wait(20)
            again = await sim.reconcile()
            assert [(each["type"], each["status"], each["reason"]) for each in again["conditions"]] == text
        await queue.close()
