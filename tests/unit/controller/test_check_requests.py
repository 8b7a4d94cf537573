"""When the controller has a worker check the source: until there is a report about the plan that is being served."""

from __future__ import annotations

from kubesweep.queue.model import JobKind, Settlement
from kubesweep_controller.queue.guarded_queue import GuardedQueue
from kubesweep_controller.reconcile.queue_reconciler import QueueReconciler
from tests.kits.controller import MANY, SPEC, ScheduleSimulation


async def checks(sim: ScheduleSimulation) -> int:
    """Reconcile twice. Returns the number of checks that a worker finds then, and that it ends without a report."""
    reconciler = QueueReconciler("local", GuardedQueue(sim.queue, "local", lambda: None), clock=sim.clock)
    for _ in range(2):
        await reconciler.act(await sim.observation())
    await sim.reconcile()
    claims = (await sim.queue.claim(sim.ref, "ann", 9, MANY)).jobs
    await sim.settle(*(Settlement(claim) for claim in claims))
    return sum(claim.job.kind is JobKind.CHECK for claim in claims)


async def test_each_edit_is_checked_once_also_one_that_is_taken_back(sim: ScheduleSimulation) -> None:
    for match in ([{"column": "status", "in": ["other"]}], SPEC["match"], [{"column": "status", "in": ["other"]}]):
        sim.edit(match=match)
        assert await checks(sim) == 1
        await sim.find()
        assert await checks(sim) == 0
        assert await sim.condition("Ready") == ("True", "Ready")


async def test_a_check_whose_report_is_lost_is_repeated(sim: ScheduleSimulation) -> None:
    assert await checks(sim) == 1
    assert await checks(sim) == 1
    await sim.find()
    assert await checks(sim) == 0
