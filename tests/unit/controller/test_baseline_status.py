"""The baseline and the proposal in the status, what the queue gets back after a loss, and the Event of a failover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import Baseline, Job, JobKind, ScheduleRef, StaleRows, Stats, SweepState, Window
from kubesweep_controller.queue.guarded_queue import GuardedQueue
from kubesweep_controller.reconcile.queue_reconciler import QueueReconciler
from kubesweep_controller.status.baseline import baseline_status, read_baseline
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.event_rules import events_of
from tests.contract.helpers import a_baseline
from tests.kits.controller import START, ScheduleSimulation


async def swept(sim: ScheduleSimulation, baseline: Baseline) -> None:
    """A sweep that found nothing."""
    sim.wait(60)
    await sim.tick()
    assert await sim.queue.advance(sim.ref, await sim.claim(), Window("cutoff", baseline=baseline))


async def events(sim: ScheduleSimulation) -> list[tuple[str, str]]:
    observation = await sim.observation()
    found = events_of(observation, build_status(observation))
    await sim.reconcile()
    return [(str(each.reason), each.note) for each in found]


async def test_the_status_has_the_queues_baseline_and_keeps_it_when_the_queue_is_lost(sim: ScheduleSimulation) -> None:
    await swept(sim, a_baseline())
    entry = (await sim.reconcile())["baseline"]
    assert entry == {
        "table": "aaaa",
        "match": "bbbb",
        "write": "update",
        "effect": "none",
        "database": "7291/shop/16384",
        "timeline": 1,
        "since": "2027-01-15T08:00:00Z",
    }
    assert read_baseline(entry) == a_baseline()
    sim.outage = Outage("QueueUnreachable", "refused")
    assert (await sim.reconcile())["baseline"] == entry
    sim.outage = None
    await sim.flush()
    assert (await sim.reconcile())["baseline"] == entry
    await swept(sim, a_baseline("8100/shop/16384"))
    assert (await sim.reconcile())["baseline"]["database"] == "8100/shop/16384"


async def restored(sim: ScheduleSimulation, *, half: bool = False) -> list[str]:
    """The operations of one reconcile that set what a lost queue forgot, in their order. ``half``: the queue kept only the pace."""
    called: list[str] = []

    class Listening:
        async def stats(self, refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
            (stats,) = await sim.queue.stats(refs)
            return (msgspec.structs.replace(stats, baseline=None, paced=False) if half else stats,)

        def __getattr__(self, name: str) -> Any:
            operation = getattr(sim.queue, name)

            def call(*given: Any, **named: Any) -> Any:
                if name in ("restore_baseline", "set_pace"):
                    called.append(name)
                return operation(*given, **named)

            return call

    reconciler = QueueReconciler("local", GuardedQueue(Listening(), "local", lambda: None), clock=sim.clock)
    await reconciler.observe(await sim.observation(), control=True)
    return called


async def test_a_lost_queue_gets_the_baseline_before_the_pace(sim: ScheduleSimulation) -> None:
    """A worker that finds neither waits until there is a pace."""
    await swept(sim, a_baseline())
    assert await restored(sim) == ["set_pace"]
    await sim.reconcile()
    await sim.flush()
    assert await restored(sim) == []  # nothing uses the queue yet
    await sim.tick()
    assert await restored(sim) == ["restore_baseline", "set_pace"]
    (stats,) = await sim.queue.stats([sim.ref])
    assert stats.baseline == a_baseline()
    assert await restored(sim) == []
    assert await restored(sim, half=True) == ["restore_baseline", "set_pace"]


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "text",
        {},
        {"table": "a", "match": "b", "write": "update", "effect": "none"},
        {"table": 1, "match": "b", "write": "update", "effect": "none", "database": "d"},
    ],
)
async def test_an_entry_that_is_no_baseline_restores_nothing(sim: ScheduleSimulation, entry: object) -> None:
    assert read_baseline(entry) is None
    sim.body["status"]["baseline"] = entry
    await sim.tick()
    assert await restored(sim) == ["set_pace"]


async def test_a_baseline_of_another_program_is_bounded(sim: ScheduleSimulation) -> None:
    hostile = a_baseline("x" * 600, 2**60, write="w" * 300)
    await swept(sim, hostile)
    found = baseline_status(await sim.observation())
    assert found is not None
    assert (len(found["database"]), len(found["write"]), found["timeline"]) == (400, 128, 2**32 - 1)
    await sim.reconcile()


async def test_a_new_timeline_is_one_event_and_another_database_none(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await swept(sim, a_baseline())
    await events(sim)
    await swept(sim, a_baseline("7291/shop/16384", 2))
    (found,) = [each for each in await events(sim) if each[0] == "DatabaseFailover"]
    assert "from timeline 1 to 2" in found[1]
    await swept(sim, a_baseline("7291/shop/16384", 2))
    assert [each for each in await events(sim) if each[0] == "DatabaseFailover"] == []
    await swept(sim, a_baseline("8100/shop/16384", 3))
    assert [each for each in await events(sim) if each[0] == "DatabaseFailover"] == []


async def test_a_sweep_that_awaits_approval_has_its_proposal_until_it_is_approved(sim: ScheduleSimulation) -> None:
    opened = await sim.tick()
    found = StaleRows(41_200, START - 3600, newest=START - 60.5, samples=(("1",), ("eu", "2")))
    await sim.queue.record_stale(sim.ref, opened.sweep, found)
    await sim.queue.end_sweep(sim.ref, await sim.claim(), SweepState.AWAITING_APPROVAL, "PredicateChanged", "match")
    proposal = {
        "rows": 41_200,
        "oldestTime": "2027-01-15T07:00:00Z",
        "newestTime": "2027-01-15T07:58:59.500Z",
        "sampleKeys": ['["1"]', '["eu","2"]'],
    }
    last = (await sim.reconcile())["lastSweep"]
    assert last["proposal"] == proposal
    assert "sampleKeys" not in last
    sim.outage = Outage("QueueUnreachable", "refused")
    assert (await sim.reconcile())["lastSweep"]["proposal"] == proposal
    sim.outage = None
    await sim.queue.approve(sim.ref)
    sim.wait(60)
    assert "proposal" not in (await sim.reconcile())["lastSweep"]


async def test_an_estimate_is_marked_and_what_is_unknown_is_absent(sim: ScheduleSimulation) -> None:
    opened = await sim.tick()
    await sim.queue.record_stale(sim.ref, opened.sweep, StaleRows(40_000, None, "no index", estimated=True))
    await sim.queue.end_sweep(sim.ref, await sim.claim(), SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "many")
    assert (await sim.reconcile())["lastSweep"]["proposal"] == {"rows": 40_000, "estimated": True}


async def test_a_dry_run_keeps_its_proposal(sim: ScheduleSimulation) -> None:
    await sim.tick(mode="DryRun")
    claim = await sim.claim()
    following = Job(JobKind.PLAN, sim.plan.version, claim.job.sweep, low=("7",))
    window = Window("cutoff", next=following, planned=7, samples=(("8",),))
    assert await sim.queue.advance(sim.ref, claim, window)
    assert await sim.queue.advance(sim.ref, await sim.claim(), Window("cutoff", planned=2))
    last = (await sim.reconcile())["lastSweep"]
    assert (last["sampleKeys"], last["proposal"]) == (['["8"]'], {"rows": 9, "sampleKeys": ['["8"]']})
