"""The health check of examples/argocd, run by Lua 5.1 as in Argo CD, on statuses that the controller writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime

from kubesweep.errors import Outage, SpecError
from tests.kits.controller import ScheduleSimulation

SCRIPT = (Path(__file__).parents[3] / "examples/argocd/health.lua").read_text()


def health(body: dict[str, Any]) -> tuple[str, str]:
    lua = LuaRuntime()
    lua.globals()["obj"] = lua.table_from(body, recursive=True)
    answer = lua.execute(SCRIPT)
    return answer["status"], answer["message"]


async def test_a_schedule_is_healthy_only_when_it_is_ready_without_dead_letters(sim: ScheduleSimulation) -> None:
    assert health(sim.body) == ("Progressing", "The controller has not seen this version yet")
    await sim.reconcile()
    said, message = health(sim.body)
    assert (said, message) == ("Progressing", sim.message("Ready"))
    await sim.ready()
    await sim.reconcile()
    assert health(sim.body) == ("Healthy", sim.message("Ready"))
    await sim.dead_letter("1", "2")
    await sim.reconcile()
    assert health(sim.body) == ("Degraded", f"DeadLetters: {sim.message('Degraded')}")


async def test_a_new_generation_is_progressing(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.reconcile()
    sim.edit(schedule="*/7 * * * *")
    assert health(sim.body)[0] == "Progressing"
    await sim.reconcile()
    assert health(sim.body)[0] == "Healthy"


async def test_a_schedule_that_is_not_ready_is_degraded_with_the_reason(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.reconcile()
    sim.outage = Outage("QueueUnreachable", "queue redis://q cannot be reached")
    await sim.reconcile()
    said, message = health(sim.body)
    assert said == "Degraded"
    assert message.startswith("QueueUnavailable: QueueUnreachable: queue redis://q cannot be reached")
    sim.outage = None
    await sim.find(ok=False, reason="TableMissing", message="there is no table")
    await sim.reconcile()
    said, message = health(sim.body)
    assert (said, message) == ("Degraded", "SourceNotReady: TableMissing: there is no table")
    await sim.find()
    await sim.reconcile()
    assert health(sim.body)[0] == "Healthy"


async def test_a_suspended_schedule_is_suspended_unless_its_spec_is_invalid(sim: ScheduleSimulation) -> None:
    sim.edit(suspend=True)
    await sim.reconcile()
    assert health(sim.body) == ("Suspended", sim.message("Suspended"))
    sim.refusal = SpecError("BadCron", "spec.schedule: no such cron")
    await sim.reconcile()
    said, message = health(sim.body)
    assert said == "Degraded"
    assert "spec.schedule: no such cron" in message


def test_an_object_without_a_status_is_progressing() -> None:
    assert health({"metadata": {"generation": 1}})[0] == "Progressing"
    assert health({"metadata": {"generation": 1}, "status": {"observedGeneration": -1}})[0] == "Progressing"
    assert health({"metadata": {"generation": 1}, "status": {"observedGeneration": 1}})[0] == "Progressing"
