"""The status: what it says, when it is written, and that it needs nothing but the queue and itself."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesweep.api.models.status import Status
from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import FLOOD, HISTORY, Settlement, SweepState
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.formatting import parse_time, time_text
from tests.kits.controller import START, Clock, ScheduleSimulation, failed, retry


async def test_a_status_tells_the_last_sweep_the_queue_and_the_errors(sim: ScheduleSimulation) -> None:
    await sim.ready()
    claim = await sim.start(5, START - 0.5)
    await sim.settle(Settlement(claim, applied=2, skipped=1, retry=retry("7"), dead=failed("8")))
    status = await sim.reconcile()
    sweep = status["lastSweep"]
    books = {name: sweep[name] for name in ("planned", "applied", "skipped", "unconfirmed", "retrying", "dead")}
    assert books == {"planned": 5, "applied": 2, "skipped": 1, "unconfirmed": 0, "retrying": 1, "dead": 1}
    assert (sweep["state"], sweep["tick"], sweep["cutoff"]) == ("Completed", "2027-01-15T07:59:59.500Z", "cutoff")
    assert status["queue"] == {"ready": 0, "running": 0, "delayed": 1, "dead": 1}
    assert status["ticks"] == {"enqueued": 1, "duplicate": 0, "forbidden": 0, "late": 0}
    assert status["errors"] == [
        {
            "error": "CheckViolation",
            "count": 1,
            "message": "the row was refused",
            "firstTime": "2027-01-15T08:00:00Z",
            "lastTime": "2027-01-15T08:00:00Z",
            "sampleKeys": ['["8"]'],
        }
    ]
    assert (status["lastScheduleTime"], status["lastSuccessfulTime"]) == (sweep["tick"], "2027-01-15T08:00:00Z")
    assert status["observedGeneration"] == 1


async def test_a_sweep_whose_rows_all_failed_is_no_success(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.sweep()
    success = (await sim.reconcile())["lastSuccessfulTime"]
    sim.wait(300)
    await sim.dead_letter("7", "8")
    status = await sim.reconcile()
    assert (status["lastSweep"]["state"], status["lastSuccessfulTime"]) == ("Completed", success)
    assert await sim.condition("Degraded") == ("True", "DeadLetters")


async def test_rows_that_wait_for_a_retry_are_no_success_until_one_is_applied(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.settle(Settlement(await sim.start(1), retry=retry("7")))
    assert "lastSuccessfulTime" not in await sim.reconcile()
    sim.wait(60)
    await sim.settle(Settlement(await sim.claim(), applied=1))
    assert (await sim.reconcile())["lastSuccessfulTime"] == "2027-01-15T08:00:00Z"


async def test_a_flood_that_shows_after_the_retries_halts_the_sweep_for_the_status_too(sim: ScheduleSimulation) -> None:
    await sim.ready()
    rows = [str(number) for number in range(FLOOD)]
    await sim.settle(Settlement(await sim.start(FLOOD), retry=retry(*rows)))
    assert (await sim.reconcile())["lastSweep"]["state"] == "Completed"
    sim.wait(60)
    await sim.settle(Settlement(await sim.claim(), dead=failed(*rows)))
    status = await sim.reconcile()
    assert (status["lastSweep"]["state"], status["lastSweep"]["reason"]) == ("Halted", "Flood")
    assert "lastSuccessfulTime" not in status
    assert await sim.condition("Degraded") == ("True", "LastSweepFailed")


async def test_what_is_read_back_is_what_was_written(sim: ScheduleSimulation) -> None:
    """The API server fills in defaults of the schema; the status has none, or it would differ from itself at each look."""
    await sim.ready()
    await sim.dead_letter("1")
    sim.wait(300)
    await sim.start(1)
    status = await sim.reconcile()
    crd = yaml.safe_load((Path(__file__).parents[3] / "manifests" / "crd.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert list(_defaults(schema)) == ["observedGeneration"]
    assert Status.model_validate(status).model_dump(by_alias=True, exclude_unset=True) == status


async def test_a_held_sweep_advises_those_who_have_kubectl(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "let it go with `kubesweep approve close-idle`")
    message = (await sim.reconcile())["lastSweep"]["message"]
    assert "kubectl annotate sweepschedule close-idle -n support --overwrite kubesweep.dev/approve=" in message
    sim.outage = Outage("QueueAuth", "refused")
    assert (await sim.reconcile())["lastSweep"]["message"] == message


def _defaults(schema: dict[str, Any], name: str = "") -> Iterator[str]:
    if name and "default" in schema:
        yield name
    for field, inner in schema.get("properties", {}).items():
        yield from _defaults(inner, field)
    if "items" in schema:
        yield from _defaults(schema["items"], f"{name}[]")


async def test_digits_in_what_others_say_are_no_news(sim: ScheduleSimulation) -> None:
    sim.child(stuck="ErrImagePull: read udp 10.90.0.1:36132->10.255.255.53:53: i/o timeout")
    await sim.reconcile()
    writes = sim.writes
    sim.wait(60)
    sim.child(stuck="ErrImagePull: read udp 10.90.0.1:60781->10.255.255.53:53: i/o timeout")
    await sim.reconcile()
    assert sim.writes == writes
    sim.child(stuck="ErrImagePull: unauthorized")
    await sim.reconcile()
    assert sim.writes == writes + 1


async def test_numbers_are_written_at_most_every_15_seconds_conditions_at_once(sim: ScheduleSimulation) -> None:
    await sim.ready()
    claim = await sim.start(100)
    await sim.reconcile()
    writes = sim.writes
    for _ in range(14):
        sim.wait(1)
        await sim.settle(Settlement(claim, applied=1, rest=claim.job))
        assert (await sim.reconcile())["lastSweep"]["applied"] == 0
    assert sim.writes == writes
    sim.wait(1)
    assert (await sim.reconcile())["lastSweep"]["applied"] == 14
    assert sim.writes == writes + 1
    sim.wait(1)
    await sim.settle(Settlement(claim, applied=1, rest=claim.job))
    sim.outage = Outage("QueueTimeout", "did not answer in time")
    assert await sim.condition("Ready") == ("False", "QueueUnavailable")
    assert sim.writes == writes + 2


async def test_the_beginning_and_the_end_of_a_sweep_are_written_at_once(sim: ScheduleSimulation) -> None:
    await sim.ready()
    claim = await sim.start(1)
    assert (await sim.reconcile())["lastSweep"]["state"] == "Running"
    sim.wait(1)
    await sim.settle(Settlement(claim, applied=1))
    status = await sim.reconcile()
    assert (status["lastSweep"]["state"], status["lastSweep"]["applied"]) == ("Completed", 1)


async def test_sweeps_that_come_every_few_seconds_are_written_like_numbers(sim: ScheduleSimulation) -> None:
    sim.edit(schedule=None, every="5s")
    await sim.ready()
    await sim.sweep()
    await sim.reconcile()
    writes = sim.writes
    for _ in range(24):
        sim.wait(5)
        await sim.sweep()
        await sim.reconcile()
    assert sim.writes == writes + 120 / 15


async def test_nothing_is_written_while_nothing_happens(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.dead_letter("1")
    sim.wait(60)
    await sim.reconcile()
    writes = sim.writes
    for _ in range(100):
        sim.wait(2.4)
        await sim.reconcile()
    assert sim.writes == writes


async def test_a_controller_that_starts_anew_writes_nothing(sim: ScheduleSimulation) -> None:
    """All that is decided comes from the queue and from the status itself."""
    await sim.ready()
    await sim.dead_letter("1")
    sim.wait(60)
    await sim.reconcile()
    observation = await sim.observation()
    assert build_status(observation) == observation.body["status"]


async def test_history_is_bounded_and_survives_the_queue(sim: ScheduleSimulation) -> None:
    for number in range(HISTORY + 5):
        await sim.sweep(number + 1)
        sim.wait(300)
        await sim.reconcile()
    planned = [number + 1 for number in range(HISTORY + 5)][::-1]
    assert [sweep["planned"] for sweep in sim.body["status"]["history"]] == planned[1 : HISTORY + 1]
    await sim.flush()
    sim.wait(300)
    await sim.sweep(100)
    status = await sim.reconcile()
    assert status["lastSweep"]["planned"] == 100
    assert [sweep["planned"] for sweep in status["history"]] == planned[:HISTORY]


async def test_a_sweep_that_ended_while_nobody_looked_is_not_called_lost(sim: ScheduleSimulation) -> None:
    await sim.start(1)
    await sim.reconcile()
    sim.wait(60)  # the lease ends
    await sim.settle(Settlement(await sim.claim(), applied=1))
    for _ in range(HISTORY + 1):
        sim.wait(300)
        await sim.sweep()
    status = await sim.reconcile()
    assert {sweep["state"] for sweep in [status["lastSweep"], *status["history"]]} == {"Completed"}


async def test_a_status_of_another_version_does_no_harm(sim: ScheduleSimulation) -> None:
    await sim.ready()
    sim.body["status"] = {
        "observedGeneration": 1,
        "conditions": [{"type": "Ready", "status": "Maybe"}],
        "lastSweep": {"id": "x", "state": "Pondering", "tick": "noon"},
        "history": [{"id": "y", "state": "Completed", "tick": "2027-01-15T07:00:00Z", "planned": "many"}],
        "countedTime": "yesterday",
        "future": 1,
    }
    assert await sim.condition("Ready") == ("True", "Ready")
    assert "future" not in sim.body["status"]


@given(st.floats(0, 4e9))
def test_times_are_read_back_as_they_were_written(seconds: float) -> None:
    at = parse_time(time_text(seconds))
    assert at is not None
    assert abs(at - seconds) <= 0.0006
    assert time_text(at) == time_text(seconds)


async def _wait(sim: ScheduleSimulation, seconds: float) -> None:
    sim.wait(seconds)


async def _set(sim: ScheduleSimulation, **fields: object) -> None:
    vars(sim).update(fields)


async def _child(sim: ScheduleSimulation, **fields: object) -> None:
    sim.child(**fields)


async def _edit(sim: ScheduleSimulation, **fields: object) -> None:
    sim.edit(**fields)


async def _fail(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.FAILED, "TableMissing", "no table")


ACTS: dict[str, Callable[[ScheduleSimulation], Awaitable[object]]] = {
    "wait": lambda sim: _wait(sim, 1.5),
    "later": lambda sim: _wait(sim, 300),
    "sweep": lambda sim: sim.sweep(2),
    "bury": lambda sim: sim.dead_letter("1", "2"),
    "die otherwise": lambda sim: sim.dead_letter("3", error="HTTP 422"),
    "start": lambda sim: sim.tick(),
    "fail": _fail,
    "replay": lambda sim: sim.queue.replay(sim.ref),
    "purge": lambda sim: sim.queue.purge(sim.ref),
    "flush": lambda sim: sim.flush(),
    "check": lambda sim: sim.find(),
    "complain": lambda sim: sim.find(False, "TableMissing", "no table"),
    "queue down": lambda sim: _set(sim, outage=Outage("QueueAuth", "refused")),
    "queue up": lambda sim: _set(sim, outage=None),
    "refuse": lambda sim: _set(sim, refusal=SpecError("BadCron", "bad minute")),
    "accept": lambda sim: _set(sim, refusal=None),
    "late": lambda sim: sim.tick(sim.clock.now - 1, deadline=-10.0),
    "stuck": lambda sim: _child(sim, stuck="ImagePullBackOff"),
    "unstuck": lambda sim: _child(sim, stuck=None),
    "fired": lambda sim: _child(sim, cron_last=sim.clock.now // 300 * 300),
    "suspend": lambda sim: _edit(sim, suspend=True),
    "resume": lambda sim: _edit(sim, suspend=False),
}


async def _act(sim: ScheduleSimulation, act: str) -> None:
    """Do it where it can be done: a tick amid a sweep is refused, and then there is nothing to claim."""
    sim.wait(0.7)
    if act in ("sweep", "bury", "die otherwise", "fail"):
        (stats,) = await sim.queue.stats([sim.ref])
        if stats.ready or stats.running or (stats.sweep is not None and not stats.sweep.state.settled):
            return
    await ACTS[act](sim)


@settings(max_examples=60, deadline=None)
@given(acts=st.lists(st.sampled_from(sorted(ACTS)), min_size=1, max_size=25))
async def test_a_status_is_a_fixed_point_and_no_condition_flaps(acts: list[str]) -> None:
    """Whatever happened: the same facts twice are written once, even a long time later when nothing else happens."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        queue = SqliteQueue(str(Path(folder) / "queue.db"), clock=clock)
        sim = ScheduleSimulation(queue, clock)
        for act in acts:
            await _act(sim, act)
            initial = await sim.reconcile()
            assert await sim.reconcile() == initial
        sim.child(cron_since=None)  # no tick is missed by mere waiting
        sim.wait(15)
        settled = await sim.reconcile()
        text = [(each["type"], each["status"], each["reason"]) for each in settled["conditions"]]
        for _ in range(3):
            sim.wait(20)
            again = await sim.reconcile()
            assert [(each["type"], each["status"], each["reason"]) for each in again["conditions"]] == text
        await queue.close()
