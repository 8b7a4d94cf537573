"""Events on a real API server: what it takes, what it refuses, and what ``kubectl describe`` makes of it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from kubesweep_controller.kube import kubeconfig
from kubesweep_controller.kube.client import KubeClient
from kubesweep_controller.kube.events import BURST, Events
from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.event_rules import EventRequest
from tests.e2e.applying import done, namespace_with_crd
from tests.kits.controller import SPEC, START

AWAITING = EventRequest(Reason.AWAITING_APPROVAL, "The sweep of noon waits.", "sweep-1/AwaitingApproval")
DEAD = EventRequest(
    Reason.DEAD_LETTERS, "CheckViolation: rows used up their attempts", "1/1", error="CheckViolation", count=1
)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with namespace_with_crd() as name:
        yield name


@pytest.fixture
def schedule(namespace: str) -> Iterator[dict[str, Any]]:
    """A SweepSchedule that nobody serves, as the API server has it."""
    name = f"sweep-{uuid.uuid4().hex[:8]}"
    meta = {"name": name, "namespace": namespace}
    body = {
        "apiVersion": "kubesweep.dev/v1alpha1",
        "kind": "SweepSchedule",
        "metadata": meta,
        "spec": SPEC | {"suspend": True},
    }
    done("create", "-f", "-", stdin=json.dumps(body))
    yield json.loads(done("get", "sweepschedule", name, "-n", namespace, "-o", "json"))
    done("delete", "sweepschedule", name, "-n", namespace, "--wait=false")


class Controllers:
    """Any number of controllers with one clock."""

    def __init__(self, api: KubeClient) -> None:
        self.api = api
        self.now = START

    def start(self, pod: str = "controller-0") -> Events:
        return Events(self.api, pod, lambda: self.now)


@pytest.fixture
async def controllers() -> AsyncIterator[Controllers]:
    api = KubeClient(kubeconfig.find())
    yield Controllers(api)
    await api.close()


def posted(schedule: dict[str, Any]) -> list[dict[str, Any]]:
    meta = schedule["metadata"]
    listed = json.loads(done("get", "events.events.k8s.io", "-n", meta["namespace"], "-o", "json"))["items"]
    return [each for each in listed if each["regarding"].get("uid") == meta["uid"]]


def counts(schedule: dict[str, Any]) -> list[int]:
    return sorted(each.get("series", {}).get("count", 1) for each in posted(schedule))


def described(schedule: dict[str, Any]) -> str:
    meta = schedule["metadata"]
    return done("describe", "sweepschedule", meta["name"], "-n", meta["namespace"]).partition("\nEvents:\n")[2]


async def test_an_event_is_shown_by_describe(schedule: dict[str, Any], controllers: Controllers) -> None:
    await controllers.start().post(schedule, AWAITING)
    (event,) = posted(schedule)
    assert (event["type"], event["reason"], event["reportingInstance"]) == (
        "Warning",
        "AwaitingApproval",
        "controller-0",
    )
    assert re.search(
        r"Warning +AwaitingApproval +\S+ +kubesweep.dev/controller +The sweep of noon waits\.", described(schedule)
    )


async def test_the_same_happening_is_one_event_however_often_and_by_whomever_it_is_told(
    schedule: dict[str, Any], controllers: Controllers
) -> None:
    first = controllers.start()
    await first.post(schedule, AWAITING)
    await first.post(schedule, AWAITING)
    await controllers.start("controller-0").post(schedule, AWAITING)
    await controllers.start("controller-1").post(schedule, AWAITING)
    assert counts(schedule) == [1]


async def test_another_happening_counts_in_the_series_and_the_note_stays(
    schedule: dict[str, Any], controllers: Controllers
) -> None:
    first, second = controllers.start(), controllers.start("controller-1")
    await first.post(schedule, AWAITING)
    await second.post(schedule, replace(AWAITING, occurrence="sweep-2/AwaitingApproval", note="another note"))
    await first.post(schedule, replace(AWAITING, occurrence="sweep-3/AwaitingApproval"))
    await second.post(schedule, replace(AWAITING, occurrence="sweep-3/AwaitingApproval"))
    assert counts(schedule) == [3]
    assert "(x3 over " in described(schedule)
    assert "another note" not in described(schedule)


async def test_dead_letters_have_their_number_in_the_series(schedule: dict[str, Any], controllers: Controllers) -> None:
    await controllers.start().post(schedule, DEAD)
    assert counts(schedule) == [1]
    seven = replace(DEAD, occurrence="2/7", count=7)
    await controllers.start().post(schedule, seven)
    await controllers.start("controller-1").post(schedule, seven)
    assert counts(schedule) == [7]
    await controllers.start().post(schedule, replace(DEAD, error="HTTP 422", occurrence="2/2", count=2))
    assert counts(schedule) == [2, 7]


async def test_each_five_minutes_have_an_object_of_their_own(
    schedule: dict[str, Any], controllers: Controllers
) -> None:
    events = controllers.start()
    await events.post(schedule, AWAITING)
    controllers.now += 299
    await events.post(schedule, replace(AWAITING, occurrence="sweep-2/AwaitingApproval"))
    controllers.now += 1
    await events.post(schedule, replace(AWAITING, occurrence="sweep-3/AwaitingApproval"))
    assert counts(schedule) == [1, 2]


async def test_a_flood_is_bounded_and_trickles_on(schedule: dict[str, Any], controllers: Controllers) -> None:
    events = controllers.start()
    for number in range(BURST + 20):
        await events.post(schedule, replace(DEAD, error=f"Error{number}"))
    assert len(posted(schedule)) == BURST
    controllers.now += 60
    for number in range(BURST + 20):
        await events.post(schedule, replace(DEAD, error=f"Error{number}"))
    assert len(posted(schedule)) == BURST + 2


@pytest.mark.parametrize(
    "written",
    ["yes", "Строка отклонена. ", "e\u0301", "👩\u200d👧", "\x1b[2J"],
    ids=["latin", "russian", "accents", "emoji", "escapes"],
)
async def test_a_note_that_is_too_long_is_cut_and_taken(
    schedule: dict[str, Any], controllers: Controllers, written: str
) -> None:
    """The API server speaks of 1,024 characters and means bytes: of Russian it refused 683."""
    await controllers.start("ж" * 300).post(schedule, replace(AWAITING, note=written * 683))
    (event,) = posted(schedule)
    assert 1000 < len(event["note"].encode()) <= 1024
    assert event["note"].endswith("...")
    assert "\x1b" not in described(schedule)


async def test_every_reason_is_taken_as_normal_and_as_warning(
    schedule: dict[str, Any], controllers: Controllers
) -> None:
    told = 0
    for reason in Reason:
        events = controllers.start()  # each with a bucket of its own
        await events.post(schedule, replace(AWAITING, reason=reason, warning=bool(told % 2)))
        told += 1
    assert len(posted(schedule)) == told == len(Reason)


async def test_a_namespace_that_is_gone_stops_nothing(
    schedule: dict[str, Any], controllers: Controllers, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = {**schedule, "metadata": schedule["metadata"] | {"namespace": "no-such-namespace"}}
    await controllers.start().post(elsewhere, AWAITING)
    assert "an Event was not posted" in caplog.text
