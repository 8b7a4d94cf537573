"""The content of the status, and that it depends on nothing but the queue and itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.api.models.status import Status
from kubesweep.errors import Outage
from kubesweep.queue.model import FLOOD, HISTORY, THROTTLE, THROTTLE_AGE, Finding, Settlement, SweepState, Throttle
from kubesweep_controller.status.formatting import parse_time, time_text
from tests.kits.controller import START, ScheduleSimulation, failed, retry


async def test_a_status_has_the_last_sweep_the_queue_and_the_errors(sim: ScheduleSimulation) -> None:
    await sim.ready()
    claim = await sim.start(5, START - 0.5)
    await sim.settle(Settlement(claim, applied=2, skipped=1, retry=retry("7"), dead=failed("8")))
    status = await sim.reconcile()
    sweep = status["lastSweep"]
    counts = {name: sweep[name] for name in ("planned", "applied", "skipped", "unconfirmed", "retrying", "dead")}
    assert counts == {"planned": 5, "applied": 2, "skipped": 1, "unconfirmed": 0, "retrying": 1, "dead": 1}
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
    """The API server fills in the schema's defaults. The status has none, or it would differ from itself at each reconcile."""
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


async def test_a_sweep_awaiting_approval_suggests_the_kubectl_command(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "let it go with `kubesweep approve close-idle`")
    message = (await sim.reconcile())["lastSweep"]["message"]
    assert "kubectl annotate sweepschedule close-idle -n support --overwrite kubesweep.dev/approve=" in message
    sim.outage = Outage("QueueAuth", "refused")
    assert (await sim.reconcile())["lastSweep"]["message"] == message


@pytest.mark.parametrize("reason", ["NaiveTimeZone", "EpochUnit"])
async def test_a_sweep_keeps_the_workers_reason_to_await_approval(sim: ScheduleSimulation, reason: str) -> None:
    await sim.end(SweepState.AWAITING_APPROVAL, reason, 'column "at" has no time zone. ' + "It is doubtful. " * 99)
    status = await sim.reconcile()
    message = status["lastSweep"]["message"]
    assert f'({reason}: column "at" has no time zone' in message
    assert "kubesweep.dev/approve=$(date +%s)." in message
    assert message in sim.message("Degraded")
    sim.outage = Outage("QueueAuth", "refused")
    sim.wait(300)
    assert (await sim.reconcile())["lastSweep"]["message"] == message
    assert message in sim.message("Degraded")
    sim.outage = None
    sim.wait(300)
    assert (await sim.reconcile())["lastSweep"]["message"] == message


def _defaults(schema: dict[str, Any], name: str = "") -> Iterator[str]:
    if name and "default" in schema:
        yield name
    for field, inner in schema.get("properties", {}).items():
        yield from _defaults(inner, field)
    if "items" in schema:
        yield from _defaults(schema["items"], f"{name}[]")


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


async def test_a_sweep_that_ended_between_reconciles_is_not_lost(sim: ScheduleSimulation) -> None:
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


async def test_the_status_says_since_when_an_annotation_sets_the_rate(sim: ScheduleSimulation) -> None:
    assert "throttle" not in await sim.reconcile()
    sim.edit(limits={"rowsPerSecond": 40})
    sim.annotate("throttle", "2.5")
    first = (await sim.reconcile())["throttle"]
    assert first == {
        "reason": "Annotation",
        "value": "2.5",
        "limit": "40",
        "since": time_text(int(sim.clock.now)),
        "message": "the annotation kubesweep.dev/throttle sets the rate: 2.5 rows per second",
    }
    sim.wait(3600)
    assert (await sim.reconcile())["throttle"] == first
    sim.annotate("throttle", "pause")
    assert (await sim.reconcile())["throttle"]["since"] == time_text(int(sim.clock.now))
    sim.annotate("throttle", "")
    assert "throttle" not in await sim.reconcile()


def throttled(sim: ScheduleSimulation, factor: float, reason: str, value: str) -> Finding:
    message = f"{'paused' if not factor else 'slowed'}: {value}"
    throttle = Throttle(factor, value, "2.0 s")
    return Finding(THROTTLE, False, reason, message, sim.plan.version, at=sim.clock.now, throttle=throttle)


async def test_the_status_says_since_when_a_signal_slows_the_sweep_down(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.start(1)
    await sim.queue.report(sim.ref, throttled(sim, 0.5, "ReplayLag", "1.2 s"))
    began = time_text(int(sim.clock.now))
    assert (await sim.reconcile())["throttle"] == {
        "reason": "ReplayLag",
        "percent": 50,
        "value": "1.2 s",
        "limit": "2.0 s",
        "since": began,
        "message": "slowed: 1.2 s",
    }
    sim.wait(20)
    await sim.queue.report(sim.ref, throttled(sim, 0.5, "ReplayLag", "1.4 s"))
    found = (await sim.reconcile())["throttle"]
    assert (found["value"], found["since"]) == ("1.4 s", began)
    await sim.queue.report(sim.ref, throttled(sim, 0.0, "ReplayLag", "4.1 s"))
    found = (await sim.reconcile())["throttle"]
    assert (found["percent"], found["since"]) == (0, time_text(int(sim.clock.now)))


async def test_an_application_that_comes_and_goes_writes_no_status_of_its_own(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.start(1)
    before = await sim.reconcile()
    for factor in (0.1, 0.25, 0.1):
        sim.wait(1)
        await sim.queue.report(sim.ref, throttled(sim, factor, "ActiveSessions", "1"))
        assert await sim.reconcile() == before
    sim.wait(15)
    await sim.queue.report(sim.ref, throttled(sim, 0.1, "ActiveSessions", "2"))
    assert (await sim.reconcile())["throttle"]["percent"] == 10
    sim.wait(1)
    await sim.queue.report(sim.ref, throttled(sim, 0.0, "LockWaits", "9"))
    assert (await sim.reconcile())["throttle"]["reason"] == "LockWaits"


async def test_texts_of_a_throttle_that_another_program_wrote_fit_into_the_status(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.start(1)
    finding = throttled(sim, 0.5, "R" * 2000, "\x1b[2J" + "v" * 3000)
    await sim.queue.report(sim.ref, msgspec.structs.replace(finding, throttle=Throttle(0.5, "v" * 3000, "l" * 300)))
    found = (await sim.reconcile())["throttle"]
    assert (len(found["reason"]), len(found["value"]), len(found["limit"]), len(found["message"])) == (
        128,
        128,
        128,
        1024,
    )
    assert "\x1b" not in found["message"]


async def test_a_throttle_that_no_worker_reports_any_more_is_over(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.start(1)
    await sim.queue.report(sim.ref, throttled(sim, 0.0, "LockWaits", "9"))
    assert "throttle" in await sim.reconcile()
    sim.wait(THROTTLE_AGE + 1)
    assert "throttle" not in await sim.reconcile()


async def test_an_annotation_is_shown_instead_of_a_signal(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.start(1)
    await sim.queue.report(sim.ref, throttled(sim, 0.0, "LockWaits", "9"))
    sim.annotate("throttle", "off")
    assert (await sim.reconcile())["throttle"]["reason"] == "Annotation"


async def test_a_signal_that_changes_all_the_time_is_not_written_all_the_time(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.start(1)
    await sim.queue.report(sim.ref, throttled(sim, 0.0, "ReplayLag", "4.1 s"))
    first = await sim.reconcile()
    sim.wait(1)
    await sim.queue.report(sim.ref, throttled(sim, 0.0, "ReplayLag", "5.1 s"))
    assert await sim.reconcile() == first


async def test_where_nothing_is_left_to_do_nothing_is_slowed_down(sim: ScheduleSimulation) -> None:
    await sim.ready()
    await sim.queue.report(sim.ref, throttled(sim, 0.0, "LockWaits", "9"))
    assert "throttle" not in await sim.reconcile()
