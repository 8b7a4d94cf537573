"""The console of kubectl sweep: what it lists, how often, and the commands that it shows."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_sweep.console.leases import Leases
from kubectl_sweep.console.provider import LIST, ApiProvider
from kubesweep.errors import KubesweepError, Outage
from kubesweep.timestamps import time_text
from kubesweep_console.provider import Action, ActionKind


class Schedules:
    def __init__(self, *names: str) -> None:
        self.names, self.asked, self.now = names, 0, 1000.0
        self.error: Exception | None = None
        self.status: dict[str, Any] = {}

    def list(self) -> list[dict[str, Any]]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        metas = ({"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1"} for name in self.names)
        return [
            {"metadata": meta, "spec": {"every": "1m", "worker": {"env": "hunter2"}}, "status": self.status}
            for meta in metas
        ]

    def provider(self) -> ApiProvider:
        return ApiProvider("test", self.list, "--context test", lambda: self.now)


async def test_the_list_is_read_again_only_after_some_seconds() -> None:
    schedules = Schedules("b", "a")
    provider = schedules.provider()
    found = await provider.snapshot()
    assert [each["metadata"]["name"] for each in found.documents] == ["a", "b"]
    assert "hunter2" not in str(found.documents)
    assert await provider.snapshot() is found
    schedules.now += LIST
    again = await provider.snapshot()
    assert schedules.asked == 2
    assert again.documents[0] is found.documents[0]


class Lease:
    """Renewed two seconds before it is read, until it is not."""

    def __init__(self, schedules: Schedules) -> None:
        self.schedules, self.renewed, self.reads = schedules, 0.0, 0
        self.ahead = 0.0  # seconds, of the cluster's clock
        self.forbidden = self.stopped = False

    def read(self, namespace: str, name: str) -> dict[str, Any]:
        assert (namespace, name) == ("kubesweep-system", "ks")
        self.reads += 1
        if self.forbidden:
            raise KubesweepError("You need the right to get leases")
        if not self.stopped:
            self.renewed = self.schedules.now + self.ahead - 2
        return {"spec": {"renewTime": time_text(self.renewed)}}


def with_lease() -> tuple[Schedules, Lease, ApiProvider]:
    schedules = Schedules("carts")
    schedules.status = {"servedBy": "kubesweep-system/ks"}
    lease = Lease(schedules)
    leases = Leases(lease.read, lambda: schedules.now)
    return schedules, lease, ApiProvider("test", schedules.list, "", lambda: schedules.now, leases.silence)


@pytest.mark.parametrize("ahead", [0.0, -300.0, 300.0])
async def test_numbers_are_stale_from_the_last_renewal_of_a_controller_that_stopped(ahead: float) -> None:
    schedules, lease, provider = with_lease()
    lease.ahead = ahead
    assert (await provider.snapshot()).problem == ""
    lease.stopped = True
    for _ in range(6):
        schedules.now += LIST
        found = await provider.snapshot()
    assert found.read_at == lease.renewed
    assert f"kubesweep-system/ks has not renewed its Lease since {time_text(lease.renewed)}" in found.problem
    assert [each["metadata"]["name"] for each in found.documents] == ["carts"]
    lease.stopped = False
    schedules.now += LIST
    assert (await provider.snapshot()).problem == ""


async def test_a_controller_that_stopped_long_ago_is_silent_at_once() -> None:
    schedules, lease, provider = with_lease()
    lease.stopped = True
    schedules.now += 3600
    assert (await provider.snapshot()).problem


async def test_without_the_right_to_read_the_lease_nothing_is_said_and_it_is_asked_once() -> None:
    schedules, lease, provider = with_lease()
    lease.forbidden = True
    for _ in range(9):
        assert (await provider.snapshot()).problem == ""
        schedules.now += LIST
    assert (lease.reads, schedules.asked) == (1, 9)


@pytest.mark.parametrize("error", [Outage("ApiUnreachable", "it is away"), KubesweepError("you may not")])
async def test_an_error_of_the_api_server_is_shown_and_asked_again(error: Exception) -> None:
    schedules = Schedules("a")
    schedules.error = error
    provider = schedules.provider()
    with pytest.raises(Outage, match=str(error)):
        await provider.snapshot()
    schedules.error = None
    assert len((await provider.snapshot()).documents) == 1


def test_a_schedule_that_its_annotation_pauses_is_resumed_by_a_reset() -> None:
    document = {
        "metadata": {"namespace": "shop", "name": "carts"},
        "status": {"throttle": {"reason": "Annotation", "value": "pause"}},
    }
    command = Schedules().provider().command(Action(ActionKind.RESUME, document))
    assert command == "kubectl sweep throttle carts reset -n shop --context test"


@pytest.mark.parametrize(
    ("kind", "error", "command"),
    [
        (ActionKind.TRIGGER, "", "kubectl sweep trigger carts -n shop --context test"),
        (ActionKind.APPROVE, "", "kubectl sweep approve carts -n shop --context test"),
        (ActionKind.PAUSE, "", "kubectl sweep suspend carts -n shop --context test"),
        (ActionKind.RESUME, "", "kubectl sweep resume carts -n shop --context test"),
        (ActionKind.RETRY, "a b", "kubectl sweep dead retry carts -n shop --error 'a b' --context test"),
        (ActionKind.PURGE, "", "kubectl sweep dead purge carts -n shop --all --context test"),
    ],
)
def test_each_button_is_a_command_to_copy(kind: ActionKind, error: str, command: str) -> None:
    document = {"metadata": {"namespace": "shop", "name": "carts"}}
    assert Schedules().provider().command(Action(kind, document, error=error)) == command
