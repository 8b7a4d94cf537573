"""Events on a real API server: what it accepts, what it rejects, and what ``kubectl describe`` shows."""

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
from tests.kits.controller import SPEC, START
from tests.kits.kubectl import kubectl_output, namespace_with_crd

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
    """A SweepSchedule that no controller serves, as the API server returns it."""
    name = f"sweep-{uuid.uuid4().hex[:8]}"
    meta = {"name": name, "namespace": namespace}
    body = {
        "apiVersion": "kubesweep.dev/v1alpha1",
        "kind": "SweepSchedule",
        "metadata": meta,
        "spec": SPEC | {"suspend": True},
    }
    kubectl_output("create", "-f", "-", stdin=json.dumps(body))
    yield json.loads(kubectl_output("get", "sweepschedule", name, "-n", namespace, "-o", "json"))
    kubectl_output("delete", "sweepschedule", name, "-n", namespace, "--wait=false")


class Controllers:
    """Starts any number of controllers' Events with one clock."""

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
    listed = json.loads(kubectl_output("get", "events.events.k8s.io", "-n", meta["namespace"], "-o", "json"))["items"]
    return [each for each in listed if each["regarding"].get("uid") == meta["uid"]]


def counts(schedule: dict[str, Any]) -> list[int]:
    return sorted(each.get("series", {}).get("count", 1) for each in posted(schedule))


def described(schedule: dict[str, Any]) -> str:
    meta = schedule["metadata"]
    return kubectl_output("describe", "sweepschedule", meta["name"], "-n", meta["namespace"]).partition("\nEvents:\n")[
        2
    ]


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


async def test_the_same_occurrence_is_one_event_from_any_controller(
    schedule: dict[str, Any], controllers: Controllers
) -> None:
    first = controllers.start()
    await first.post(schedule, AWAITING)
    await first.post(schedule, AWAITING)
    await controllers.start("controller-0").post(schedule, AWAITING)
    await controllers.start("controller-1").post(schedule, AWAITING)
    assert counts(schedule) == [1]


async def test_another_occurrence_counts_in_the_series_and_keeps_the_note(
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


async def test_the_series_counts_dead_letters(schedule: dict[str, Any], controllers: Controllers) -> None:
    await controllers.start().post(schedule, DEAD)
    assert counts(schedule) == [1]
    seven = replace(DEAD, occurrence="2/7", count=7)
    await controllers.start().post(schedule, seven)
    await controllers.start("controller-1").post(schedule, seven)
    assert counts(schedule) == [7]
    await controllers.start().post(schedule, replace(DEAD, error="HTTP 422", occurrence="2/2", count=2))
    assert counts(schedule) == [2, 7]


async def test_a_new_event_object_starts_every_five_minutes(schedule: dict[str, Any], controllers: Controllers) -> None:
    events = controllers.start()
    await events.post(schedule, AWAITING)
    controllers.now += 299
    await events.post(schedule, replace(AWAITING, occurrence="sweep-2/AwaitingApproval"))
    controllers.now += 1
    await events.post(schedule, replace(AWAITING, occurrence="sweep-3/AwaitingApproval"))
    assert counts(schedule) == [1, 2]


async def test_events_are_rate_limited(schedule: dict[str, Any], controllers: Controllers) -> None:
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
async def test_a_long_note_is_truncated_and_accepted(
    schedule: dict[str, Any], controllers: Controllers, written: str
) -> None:
    """The API server's limit of 1,024 characters counts bytes: it rejected 683 Russian characters."""
    await controllers.start("ж" * 300).post(schedule, replace(AWAITING, note=written * 683))
    (event,) = posted(schedule)
    assert 1000 < len(event["note"].encode()) <= 1024
    assert event["note"].endswith("...")
    assert "\x1b" not in described(schedule)


async def test_every_reason_is_accepted_as_normal_and_as_warning(
    schedule: dict[str, Any], controllers: Controllers
) -> None:
    posts = 0
    for reason in Reason:
        events = controllers.start()  # each has a rate limit of its own
        await events.post(schedule, replace(AWAITING, reason=reason, warning=bool(posts % 2)))
        posts += 1
    assert len(posted(schedule)) == posts == len(Reason)


async def test_a_deleted_namespace_raises_nothing(
    schedule: dict[str, Any], controllers: Controllers, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = {**schedule, "metadata": schedule["metadata"] | {"namespace": "no-such-namespace"}}
    await controllers.start().post(elsewhere, AWAITING)
    assert "an Event was not posted" in caplog.text
