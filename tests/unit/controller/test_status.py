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
from tests.kits.controller import START, Clock, House, failed, retry


async def test_a_status_tells_the_last_sweep_the_queue_and_the_errors(house: House) -> None:
    await house.ready()
    claim = await house.start(5, START - 0.5)
    await house.settle(Settlement(claim, applied=2, skipped=1, retry=retry("7"), dead=failed("8")))
    status = await house.look()
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


async def test_a_sweep_whose_rows_all_failed_is_no_success(house: House) -> None:
    await house.ready()
    await house.sweep()
    success = (await house.look())["lastSuccessfulTime"]
    house.wait(300)
    await house.bury("7", "8")
    status = await house.look()
    assert (status["lastSweep"]["state"], status["lastSuccessfulTime"]) == ("Completed", success)
    assert await house.see("Degraded") == ("True", "DeadLetters")


async def test_rows_that_wait_for_a_retry_are_no_success_until_one_is_applied(house: House) -> None:
    await house.ready()
    await house.settle(Settlement(await house.start(1), retry=retry("7")))
    assert "lastSuccessfulTime" not in await house.look()
    house.wait(60)
    await house.settle(Settlement(await house.claim(), applied=1))
    assert (await house.look())["lastSuccessfulTime"] == "2027-01-15T08:00:00Z"


async def test_a_flood_that_shows_after_the_retries_halts_the_sweep_for_the_status_too(house: House) -> None:
    await house.ready()
    rows = [str(number) for number in range(FLOOD)]
    await house.settle(Settlement(await house.start(FLOOD), retry=retry(*rows)))
    assert (await house.look())["lastSweep"]["state"] == "Completed"
    house.wait(60)
    await house.settle(Settlement(await house.claim(), dead=failed(*rows)))
    status = await house.look()
    assert (status["lastSweep"]["state"], status["lastSweep"]["reason"]) == ("Halted", "Flood")
    assert "lastSuccessfulTime" not in status
    assert await house.see("Degraded") == ("True", "LastSweepFailed")


async def test_what_is_read_back_is_what_was_written(house: House) -> None:
    """The API server fills in defaults of the schema; the status has none, or it would differ from itself at each look."""
    await house.ready()
    await house.bury("1")
    house.wait(300)
    await house.start(1)
    status = await house.look()
    crd = yaml.safe_load((Path(__file__).parents[3] / "manifests" / "crd.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert list(_defaults(schema)) == ["observedGeneration"]
    assert Status.model_validate(status).model_dump(by_alias=True, exclude_unset=True) == status


async def test_a_held_sweep_advises_those_who_have_kubectl(house: House) -> None:
    await house.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "let it go with `kubesweep approve close-idle`")
    message = (await house.look())["lastSweep"]["message"]
    assert "kubectl annotate sweepschedule close-idle -n support --overwrite kubesweep.dev/approve=" in message
    house.outage = Outage("QueueAuth", "refused")
    assert (await house.look())["lastSweep"]["message"] == message


def _defaults(schema: dict[str, Any], name: str = "") -> Iterator[str]:
    if name and "default" in schema:
        yield name
    for field, inner in schema.get("properties", {}).items():
        yield from _defaults(inner, field)
    if "items" in schema:
        yield from _defaults(schema["items"], f"{name}[]")


async def test_digits_in_what_others_say_are_no_news(house: House) -> None:
    house.child(stuck="ErrImagePull: read udp 10.90.0.1:36132->10.255.255.53:53: i/o timeout")
    await house.look()
    writes = house.writes
    house.wait(60)
    house.child(stuck="ErrImagePull: read udp 10.90.0.1:60781->10.255.255.53:53: i/o timeout")
    await house.look()
    assert house.writes == writes
    house.child(stuck="ErrImagePull: unauthorized")
    await house.look()
    assert house.writes == writes + 1


async def test_numbers_are_written_at_most_every_15_seconds_conditions_at_once(house: House) -> None:
    await house.ready()
    claim = await house.start(100)
    await house.look()
    writes = house.writes
    for _ in range(14):
        house.wait(1)
        await house.settle(Settlement(claim, applied=1, rest=claim.job))
        assert (await house.look())["lastSweep"]["applied"] == 0
    assert house.writes == writes
    house.wait(1)
    assert (await house.look())["lastSweep"]["applied"] == 14
    assert house.writes == writes + 1
    house.wait(1)
    await house.settle(Settlement(claim, applied=1, rest=claim.job))
    house.outage = Outage("QueueTimeout", "did not answer in time")
    assert await house.see("Ready") == ("False", "QueueUnavailable")
    assert house.writes == writes + 2


async def test_the_beginning_and_the_end_of_a_sweep_are_written_at_once(house: House) -> None:
    await house.ready()
    claim = await house.start(1)
    assert (await house.look())["lastSweep"]["state"] == "Running"
    house.wait(1)
    await house.settle(Settlement(claim, applied=1))
    status = await house.look()
    assert (status["lastSweep"]["state"], status["lastSweep"]["applied"]) == ("Completed", 1)


async def test_sweeps_that_come_every_few_seconds_are_written_like_numbers(house: House) -> None:
    house.edit(schedule=None, every="5s")
    await house.ready()
    await house.sweep()
    await house.look()
    writes = house.writes
    for _ in range(24):
        house.wait(5)
        await house.sweep()
        await house.look()
    assert house.writes == writes + 120 / 15


async def test_nothing_is_written_while_nothing_happens(house: House) -> None:
    await house.ready()
    await house.bury("1")
    house.wait(60)
    await house.look()
    writes = house.writes
    for _ in range(100):
        house.wait(2.4)
        await house.look()
    assert house.writes == writes


async def test_a_controller_that_starts_anew_writes_nothing(house: House) -> None:
    """All that is decided comes from the queue and from the status itself."""
    await house.ready()
    await house.bury("1")
    house.wait(60)
    await house.look()
    observation = await house.observation()
    assert build_status(observation) == observation.body["status"]


async def test_history_is_bounded_and_survives_the_queue(house: House) -> None:
    for number in range(HISTORY + 5):
        await house.sweep(number + 1)
        house.wait(300)
        await house.look()
    planned = [number + 1 for number in range(HISTORY + 5)][::-1]
    assert [sweep["planned"] for sweep in house.body["status"]["history"]] == planned[1 : HISTORY + 1]
    await house.flush()
    house.wait(300)
    await house.sweep(100)
    status = await house.look()
    assert status["lastSweep"]["planned"] == 100
    assert [sweep["planned"] for sweep in status["history"]] == planned[:HISTORY]


async def test_a_sweep_that_ended_while_nobody_looked_is_not_called_lost(house: House) -> None:
    await house.start(1)
    await house.look()
    house.wait(60)  # the lease ends
    await house.settle(Settlement(await house.claim(), applied=1))
    for _ in range(HISTORY + 1):
        house.wait(300)
        await house.sweep()
    status = await house.look()
    assert {sweep["state"] for sweep in [status["lastSweep"], *status["history"]]} == {"Completed"}


async def test_a_status_of_another_version_does_no_harm(house: House) -> None:
    await house.ready()
    house.body["status"] = {
        "observedGeneration": 1,
        "conditions": [{"type": "Ready", "status": "Maybe"}],
        "lastSweep": {"id": "x", "state": "Pondering", "tick": "noon"},
        "history": [{"id": "y", "state": "Completed", "tick": "2027-01-15T07:00:00Z", "planned": "many"}],
        "countedTime": "yesterday",
        "future": 1,
    }
    assert await house.see("Ready") == ("True", "Ready")
    assert "future" not in house.body["status"]


@given(st.floats(0, 4e9))
def test_times_are_read_back_as_they_were_written(seconds: float) -> None:
    at = parse_time(time_text(seconds))
    assert at is not None
    assert abs(at - seconds) <= 0.0006
    assert time_text(at) == time_text(seconds)


async def _wait(house: House, seconds: float) -> None:
    house.wait(seconds)


async def _set(house: House, **fields: object) -> None:
    vars(house).update(fields)


async def _child(house: House, **fields: object) -> None:
    house.child(**fields)


async def _edit(house: House, **fields: object) -> None:
    house.edit(**fields)


async def _fail(house: House) -> None:
    await house.end(SweepState.FAILED, "TableMissing", "no table")


ACTS: dict[str, Callable[[House], Awaitable[object]]] = {
    "wait": lambda house: _wait(house, 1.5),
    "later": lambda house: _wait(house, 300),
    "sweep": lambda house: house.sweep(2),
    "bury": lambda house: house.bury("1", "2"),
    "die otherwise": lambda house: house.bury("3", error="HTTP 422"),
    "start": lambda house: house.tick(),
    "fail": _fail,
    "replay": lambda house: house.queue.replay(house.ref),
    "purge": lambda house: house.queue.purge(house.ref),
    "flush": lambda house: house.flush(),
    "check": lambda house: house.find(),
    "complain": lambda house: house.find(False, "TableMissing", "no table"),
    "queue down": lambda house: _set(house, outage=Outage("QueueAuth", "refused")),
    "queue up": lambda house: _set(house, outage=None),
    "refuse": lambda house: _set(house, refusal=SpecError("BadCron", "bad minute")),
    "accept": lambda house: _set(house, refusal=None),
    "late": lambda house: house.tick(house.clock.now - 1, deadline=-10.0),
    "stuck": lambda house: _child(house, stuck="ImagePullBackOff"),
    "unstuck": lambda house: _child(house, stuck=None),
    "fired": lambda house: _child(house, cron_last=house.clock.now // 300 * 300),
    "suspend": lambda house: _edit(house, suspend=True),
    "resume": lambda house: _edit(house, suspend=False),
}


async def _act(house: House, act: str) -> None:
    """Do it where it can be done: a tick amid a sweep is refused, and then there is nothing to claim."""
    house.wait(0.7)
    if act in ("sweep", "bury", "die otherwise", "fail"):
        (stats,) = await house.queue.stats([house.ref])
        if stats.ready or stats.running or (stats.sweep is not None and not stats.sweep.state.settled):
            return
    await ACTS[act](house)


@settings(max_examples=60, deadline=None)
@given(acts=st.lists(st.sampled_from(sorted(ACTS)), min_size=1, max_size=25))
async def test_a_status_is_a_fixed_point_and_no_condition_flaps(acts: list[str]) -> None:
    """Whatever happened: the same facts twice are written once, even a long time later when nothing else happens."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        queue = SqliteQueue(str(Path(folder) / "queue.db"), clock=clock)
        house = House(queue, clock)
        for act in acts:
            await _act(house, act)
            first = await house.look()
            assert await house.look() == first
        house.child(cron_since=None)  # no tick is missed by mere waiting
        house.wait(15)
        settled = await house.look()
        said = [(each["type"], each["status"], each["reason"]) for each in settled["conditions"]]
        for _ in range(3):
            house.wait(20)
            again = await house.look()
            assert [(each["type"], each["status"], each["reason"]) for each in again["conditions"]] == said
        await queue.close()
