"""The console of kubectl sweep: what it lists, how often, and the commands that it shows."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_sweep.console.provider import LIST, ApiProvider
from kubesweep.errors import KubesweepError, Outage
from kubesweep_console.provider import Action, ActionKind


class Schedules:
    def __init__(self, *names: str) -> None:
        self.names, self.asked, self.now = names, 0, 1000.0
        self.error: Exception | None = None

    def list(self) -> list[dict[str, Any]]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        metas = ({"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1"} for name in self.names)
        return [
            {"metadata": meta, "spec": {"every": "1m", "worker": {"env": "hunter2"}}, "status": {}} for meta in metas
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
