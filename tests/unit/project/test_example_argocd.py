"""The health check of examples/argocd, run by Lua 5.1 as in Argo CD, on statuses that the controller writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime

from kubesweep.errors import Outage, SpecError
from tests.kits.controller import House

SCRIPT = (Path(__file__).parents[3] / "examples/argocd/health.lua").read_text()


def health(body: dict[str, Any]) -> tuple[str, str]:
    lua = LuaRuntime()
    lua.globals()["obj"] = lua.table_from(body, recursive=True)
    answer = lua.execute(SCRIPT)
    return answer["status"], answer["message"]


async def test_a_schedule_is_healthy_only_when_it_is_ready_without_dead_letters(house: House) -> None:
    assert health(house.body) == ("Progressing", "The controller has not seen this version yet")
    await house.look()
    said, message = health(house.body)
    assert (said, message) == ("Progressing", house.message("Ready"))
    await house.ready()
    await house.look()
    assert health(house.body) == ("Healthy", house.message("Ready"))
    await house.bury("1", "2")
    await house.look()
    assert health(house.body) == ("Degraded", f"DeadLetters: {house.message('Degraded')}")


async def test_a_new_generation_is_progressing(house: House) -> None:
    await house.ready()
    await house.look()
    house.edit(schedule="*/7 * * * *")
    assert health(house.body)[0] == "Progressing"
    await house.look()
    assert health(house.body)[0] == "Healthy"


async def test_a_schedule_that_is_not_ready_is_degraded_with_the_reason(house: House) -> None:
    await house.ready()
    await house.look()
    house.outage = Outage("QueueUnreachable", "queue redis://q cannot be reached")
    await house.look()
    said, message = health(house.body)
    assert said == "Degraded"
    assert message.startswith("QueueUnavailable: QueueUnreachable: queue redis://q cannot be reached")
    house.outage = None
    await house.find(ok=False, reason="TableMissing", message="there is no table")
    await house.look()
    said, message = health(house.body)
    assert (said, message) == ("Degraded", "SourceNotReady: TableMissing: there is no table")
    await house.find()
    await house.look()
    assert health(house.body)[0] == "Healthy"


async def test_a_suspended_schedule_is_suspended_unless_its_spec_is_invalid(house: House) -> None:
    house.edit(suspend=True)
    await house.look()
    assert health(house.body) == ("Suspended", house.message("Suspended"))
    house.refusal = SpecError("BadCron", "spec.schedule: no such cron")
    await house.look()
    said, message = health(house.body)
    assert said == "Degraded"
    assert "spec.schedule: no such cron" in message


def test_an_object_without_a_status_is_progressing() -> None:
    assert health({"metadata": {"generation": 1}})[0] == "Progressing"
    assert health({"metadata": {"generation": 1}, "status": {"observedGeneration": -1}})[0] == "Progressing"
    assert health({"metadata": {"generation": 1}, "status": {"observedGeneration": 1}})[0] == "Progressing"
