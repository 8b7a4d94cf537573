"""A controller under an older CRD, which drops unknown fields of a status. The CRD belongs to the whole cluster, so this runs alone."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest

from kubesweep.api.crd import custom_resource_definition
from tests.kits.controller_environment import ControllerEnvironment, install_crd, now, writes_since
from tests.kits.polling import until
from tests.kits.schedule_driver import ScheduleDriver

LACKS = ("handled", "plan", "countedTime", "lastMissedTime", "ticks")


@pytest.fixture
async def older_crd(env: ControllerEnvironment) -> AsyncIterator[None]:
    definition = copy.deepcopy(custom_resource_definition())
    status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    for name in LACKS:
        del status[name]
    await install_crd(env.api, definition)
    yield
    await install_crd(env.api, custom_resource_definition())


@pytest.mark.bed
@pytest.mark.usefixtures("older_crd")
async def test_a_crd_that_drops_status_fields_causes_no_duplicate_action(
    env: ControllerEnvironment,
) -> None:
    driver = ScheduleDriver(env)
    await driver.make_ready()
    await driver.annotate("purge-dead-letters")
    await until(lambda: _has_event(driver, "DeadLettersPurged"))
    assert "handled" not in await driver.status()
    await driver.annotate("trigger")
    await driver.plan(1)
    await driver.settle(dead={"7": "CheckViolation"})
    await env.until_reason("Degraded", "DeadLetters")  # and the dead letters are not purged again
    start = now()
    await driver.report_finding(False, "TableMissing", "there is no table")
    await env.until_reason("SourceReady", "TableMissing")
    assert (await env.stats()).dead == 1
    assert len([each for each in writes_since(env, start) if each.resource == "sweepschedules/status"]) <= 2
    assert env.controller_log().count("is older than this controller: so the API server prunes") <= len(LACKS)
    assert "status.handled" in env.controller_log()


async def _has_event(driver: ScheduleDriver, reason: str) -> bool:
    return any(event[1] == reason for event in await driver.events())
