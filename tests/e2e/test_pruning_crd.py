"""A controller under a CRD that is older than itself, and drops the fields of a status that it does not know. The CRD is the cluster's, so this runs alone."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest

from kubesweep.api.crd import custom_resource_definition
from tests.e2e.stage import Stage, install_crd, now, until, writes_since
from tests.e2e.test_story import Tale

LACKS = ("handled", "plan", "countedTime", "lastMissedTime", "ticks")


@pytest.fixture
async def older_crd(stage: Stage) -> AsyncIterator[None]:
    definition = copy.deepcopy(custom_resource_definition())
    status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    for name in LACKS:
        del status[name]
    await install_crd(stage.api, definition)
    yield
    await install_crd(stage.api, custom_resource_definition())


@pytest.mark.bed
@pytest.mark.usefixtures("older_crd")
async def test_a_crd_that_drops_what_it_does_not_know_of_a_status_makes_nothing_happen_twice(stage: Stage) -> None:
    tale = Tale(stage)
    await tale.begin()
    await tale.order("purge-dead-letters")
    await until(lambda: _told(tale, "DeadLettersPurged"))
    assert "handled" not in await tale.status()
    await tale.order("trigger")
    await tale.plan(1)
    await tale.settle(dead={"7": "CheckViolation"})
    await stage.says("Degraded", "DeadLetters")  # and not purged once more
    start = now()
    await tale.find(False, "TableMissing", "there is no table")
    await stage.says("SourceReady", "TableMissing")
    assert (await stage.stats()).dead == 1
    assert len([each for each in writes_since(stage, start) if each.resource == "sweepschedules/status"]) <= 2
    assert stage.log().count("is older than this controller, so the API server prunes") <= len(LACKS)
    assert "status.handled" in stage.log()


async def _told(tale: Tale, reason: str) -> bool:
    return any(told[1] == reason for told in await tale.events())
