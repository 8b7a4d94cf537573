"""Texts in the queue come from others. In a status or an Event they are printable and no longer than the API server accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import FailedRow, Settlement, SweepState, parse_key
from kubesweep_controller.kube.events import Events
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.event_rules import EventRequest, events_of
from kubesweep_controller.status.formatting import parse_time, time_text
from tests.kits.controller import ScheduleSimulation
from tests.unit.core.test_text import harmful

HOSTILE = "\x1b]0;mine\x07\x1b[2J\0\x9b31m\u202egnp.exe\u2066"
HUGE = HOSTILE + "Строка отклонена. " * 300
LONG = HOSTILE + "Refused" * 300


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from texts([*value.keys(), *value.values()])
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


class Posted:
    """An API server that keeps the bodies it receives."""

    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Any]] = []

    async def create_event(self, body: Mapping[str, Any]) -> bool:
        self.bodies.append(body)
        return True

    async def patch_event(self, namespace: str, name: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return None


async def _dead(sim: ScheduleSimulation) -> None:
    claim = await sim.start(1)
    row = FailedRow((f"a{HOSTILE}",), LONG, HUGE, HUGE)
    await sim.settle(Settlement(claim, dead=(row,)))


async def _failed(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.FAILED, LONG, HUGE)


async def _found(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.find(False, LONG, HUGE)
    await sim.find(False, LONG, HUGE, kind="Effect")


async def _warned(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.find(False, LONG, HUGE, kind="SourceWarnings")


async def _away(sim: ScheduleSimulation) -> None:
    sim.outage = Outage("Unreachable", HUGE)


async def _stuck(sim: ScheduleSimulation) -> None:
    await sim.ready()
    sim.child(stuck=HUGE)


@pytest.mark.parametrize("happens", [_dead, _failed, _found, _warned, _away, _stuck])
async def test_no_text_of_others_leaves_a_status_or_an_event_unreadable_or_refused(
    sim: ScheduleSimulation, happens: Any
) -> None:
    await sim.reconcile()
    await happens(sim)
    observation = await sim.observation()
    status = build_status(observation)
    client = Posted()
    for event in events_of(observation, status):
        await Events(client, "pod").post(observation.body, event)
    assert "отклонена" in json.dumps([status, client.bodies], ensure_ascii=False), "none of it is reported"
    assert [text for text in texts([status, *client.bodies]) if harmful(text)] == []
    assert all(len(body["note"].encode()) <= 1024 for body in client.bodies)
    await sim.reconcile()  # validates the status as the API server does
    sim.body["status"] = status
    assert build_status(await sim.observation()) == status


async def test_a_key_with_an_escape_sequence_is_shown_so_that_it_can_be_typed_again(sim: ScheduleSimulation) -> None:
    await _dead(sim)
    [group] = (await sim.reconcile())["errors"]
    [shown] = group["sampleKeys"]
    assert (parse_key(shown), harmful(shown)) == ((f"a{HOSTILE}",), [])


@pytest.mark.parametrize("note", ["Строка отклонена. " * 38, "é" * 513, "y" * 5000, "👩\u200d👧" * 300, "\0" * 1024])
async def test_a_note_has_no_more_bytes_than_the_api_server_takes(sim: ScheduleSimulation, note: str) -> None:
    client = Posted()
    event = EventRequest(Reason.AWAITING_APPROVAL, "short", "one")
    await Events(client, "pod").post(sim.body, event)
    await Events(client, "ж" * 100).post(sim.body, replace(event, note=note))
    short, long = client.bodies
    assert (short["note"], short["reportingInstance"]) == ("short", "pod")
    assert 1000 < len(long["note"].encode()) <= 1024
    assert len(long["reportingInstance"].encode()) <= 128


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999Z", "0001-01-01", "x", 5],
)
def test_a_time_that_is_read_can_be_written(text: object) -> None:
    seconds = parse_time(text)
    assert seconds is None or parse_time(time_text(seconds)) == seconds
