"""``status.answers``: what became of each command, under its nonce, and commands that act on a part of the rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubesweep.queue.model import Settlement, SweepState
from kubesweep_controller.reconcile.execute_commands import execute
from kubesweep_controller.status.commands import CommandResult, pending_commands
from tests.kits.controller import ScheduleSimulation, failed, retry


async def answered(sim: ScheduleSimulation, command: str, *, echo: bool = True, **value: Any) -> dict[str, Any]:
    """Annotate with an object, reconcile once, and return the answer."""
    sim.annotate(
        command, json.dumps(value) if value else sim.body["metadata"]["annotations"][f"kubesweep.dev/{command}"]
    )
    observation = await sim.observation()
    results: list[CommandResult] = [
        await execute(sim.queue, observation, each) for each in pending_commands(observation)
    ]
    if not echo:
        return {"message": results[-1].message, "rows": results[-1].rows}
    answers = (await sim.reconcile(*results))["answers"]
    (answer,) = [each for each in answers if each["nonce"] == value.get("nonce", each["nonce"])]
    return dict(answer)


async def dead_keys(sim: ScheduleSimulation) -> set[str]:
    return {each.key[0] for each in await sim.queue.dead_letters(sim.ref)}


@pytest.fixture
async def dead(sim: ScheduleSimulation) -> ScheduleSimulation:
    """A schedule with dead letters of two errors."""
    claim = await sim.start(4)
    rows = (*failed("1", "2", error="Http500"), *failed("3", "4", error="Http422"))
    await sim.settle(Settlement(claim, dead=rows))
    await sim.reconcile()
    return sim


async def test_answers_are_written_before_the_first_command_so_that_a_client_knows_that_filters_are_read(
    sim: ScheduleSimulation,
) -> None:
    assert (await sim.reconcile())["answers"] == []
    writes = sim.writes
    sim.wait(60)
    assert (await sim.reconcile())["answers"] == []
    assert sim.writes == writes


async def test_each_command_has_its_latest_answer(dead: ScheduleSimulation) -> None:
    for number in ("1", "2"):
        for name in ("trigger", "approve", "throttle", "retry-dead-letters", "purge-dead-letters"):
            dead.annotate(name, number)
        observation = await dead.observation()
        results = [await execute(dead.queue, observation, each) for each in pending_commands(observation)]
        answers = (await dead.reconcile(*results))["answers"]
        assert [(each["command"], each["nonce"]) for each in answers] == [
            (name, number) for name in ("PurgeDeadLetters", "RetryDeadLetters", "Approve", "Trigger", "Throttle")
        ]
        dead.wait(60)
    assert [each["outcome"] for each in answers] == ["Done", "Done", "Refused", "Refused", "Done"]
    assert [each["reason"] for each in answers] == [
        "DeadLettersPurged", "DeadLettersRetried", "NothingToApprove", "SweepRunning", "Throttled",
    ]  # fmt: skip
    assert {each["time"] for each in answers} == {"2027-01-15T08:01:00Z"}


async def test_an_answer_is_written_once_and_stays(dead: ScheduleSimulation) -> None:
    first = await answered(dead, "retry-dead-letters", nonce="1", error="Http500")
    writes = dead.writes
    dead.wait(5)
    assert (await dead.reconcile())["answers"] == [first]
    assert dead.writes == writes


@pytest.mark.parametrize(
    ("narrowed_by", "left", "rows"),
    [
        ({}, set(), 4),
        ({"error": "Http500"}, {"3", "4"}, 2),
        ({"keys": ["1", '["3"]', "1", "9"]}, {"2", "4"}, 2),
        ({"error": "Http422", "keys": ["1", "3"]}, {"1", "2", "4"}, 1),
        ({"error": "Http"}, {"1", "2", "3", "4"}, 0),
        ({"keys": ["9"]}, {"1", "2", "3", "4"}, 0),
    ],
)
@pytest.mark.parametrize("command", ["retry-dead-letters", "purge-dead-letters"])
async def test_a_filter_selects_the_rows(
    dead: ScheduleSimulation, command: str, narrowed_by: dict[str, Any], left: set[str], rows: int
) -> None:
    answer = await answered(dead, command, nonce="1", **narrowed_by)
    assert (answer["outcome"], answer["rows"]) == ("Done", rows)
    assert await dead_keys(dead) == left
    if rows == 0:
        verb = command.partition("-")[0]
        assert answer["message"] == f"no dead letter with these keys or this error is left to {verb}"
    assert dead.body["status"]["handled"] == {
        {"retry-dead-letters": "retryDeadLetters", "purge-dead-letters": "purgeDeadLetters"}[command]: "1"
    }


@pytest.mark.parametrize("narrowed_by", [{"error": "Http500"}, {"keys": ["1", "2", "9"]}, {}])
async def test_a_retry_that_a_crash_repeats_reports_the_rows_that_it_retries(
    dead: ScheduleSimulation, narrowed_by: dict[str, Any]
) -> None:
    expected = 2 if narrowed_by else 4
    first = await answered(dead, "retry-dead-letters", echo=False, nonce="1", **narrowed_by)
    assert first == {"message": f"{expected} rows are being retried", "rows": expected}
    answer = await answered(dead, "retry-dead-letters", nonce="1", **narrowed_by)
    assert answer["message"].endswith(f"is left to retry; {expected} rows are being retried already")
    assert answer["rows"] == 0


async def test_a_retry_makes_rows_that_wait_for_an_attempt_due(sim: ScheduleSimulation) -> None:
    claim = await sim.start(2)
    await sim.settle(Settlement(claim, retry=retry("1", "2", delay=600.0)))
    assert (await answered(sim, "retry-dead-letters", nonce="1", keys=["1"]))["rows"] == 1
    (again,) = (await sim.claim()).job.keys
    assert again == ("1",)


@pytest.mark.parametrize(
    ("command", "text", "problem"),
    [
        ("purge-dead-letters", '{"nonce": "1", "key": ["1"]}', 'the field "key" does not exist'),
        ("purge-dead-letters", '{"nonce": "1", "keys": []}', "keys must be a list"),
        ("retry-dead-letters", '{"error": "Http500"}', "nonce must be a text"),
        ("retry-dead-letters", "{please}", "it begins with { and is not a JSON object"),
        ("approve", '{"nonce": "1", "keys": ["1"]}', 'the field "keys" does not exist: it has nonce and sweep'),
    ],
)
async def test_a_value_that_is_not_understood_is_refused_once_and_changes_nothing(
    dead: ScheduleSimulation, command: str, text: str, problem: str
) -> None:
    dead.annotate(command, text)
    answer = await answered(dead, command)
    assert (answer["outcome"], answer["reason"]) == ("Refused", "InvalidValue")
    assert answer["message"].startswith(f"nothing was done, because the value is invalid: {problem}")
    assert answer["message"].endswith("then set it again with another nonce")
    assert await dead_keys(dead) == {"1", "2", "3", "4"}
    assert pending_commands(await dead.observation()) == ()
    dead.annotate(command, text.replace("nonce", "once"))
    assert bool(pending_commands(await dead.observation())) == ("nonce" in text)


async def test_an_approval_names_its_sweep(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")
    waits = (await sim.reconcile())["lastSweep"]["id"]
    other = await answered(sim, "approve", nonce="1", sweep="5b1f")
    assert (other["outcome"], other["reason"], other["sweep"]) == ("Refused", "AnotherSweep", waits)
    assert "sweep 5b1f is over, or unknown" in other["message"]
    assert sim.body["status"]["lastSweep"]["state"] == "AwaitingApproval"
    done = await answered(sim, "approve", nonce="2", sweep=waits)
    assert (done["outcome"], done["reason"], done["sweep"]) == ("Done", "Approved", waits)
    again = await answered(sim, "approve", nonce="3", sweep=waits)
    assert (again["outcome"], again["message"]) == ("Done", f"sweep {waits} was approved already")
    over = await answered(sim, "approve", nonce="4", sweep="5b1f")
    assert (over["outcome"], over["reason"]) == ("Refused", "NothingToApprove")


async def test_an_approval_that_a_crash_repeats_says_that_the_sweep_is_approved(sim: ScheduleSimulation) -> None:
    await sim.end(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")
    await sim.reconcile()
    sim.annotate("approve", "1")
    await answered(sim, "approve", echo=False)
    answer = await answered(sim, "approve")
    assert (answer["outcome"], answer["reason"]) == ("Done", "Approved")


async def test_a_trigger_names_the_sweep_that_it_started_or_that_prevents_it(sim: ScheduleSimulation) -> None:
    sim.annotate("trigger", "1")
    started = await answered(sim, "trigger")
    assert (started["outcome"], started["reason"]) == ("Done", "Triggered")
    assert started["sweep"] == sim.body["status"]["lastSweep"]["id"]
    sim.annotate("trigger", "2")
    refused = await answered(sim, "trigger")
    assert (refused["outcome"], refused["reason"], refused["sweep"]) == ("Refused", "SweepRunning", started["sweep"])
    sim.edit(suspend=True)
    sim.annotate("trigger", "3")
    assert (await answered(sim, "trigger"))["reason"] == "Suspended"


async def test_an_answer_that_another_version_wrote_is_kept_and_an_unknown_one_is_not(sim: ScheduleSimulation) -> None:
    old = {"command": "Trigger", "nonce": "1", "outcome": "Done", "reason": "Later", "message": "", "time": "2027-01-15T08:00:00Z"}  # fmt: skip
    sim.body["status"]["answers"] = [old, old | {"command": "Unknown"}]
    assert (await sim.reconcile())["answers"] == [old]


async def test_a_retry_while_a_sweep_awaits_approval_says_that_it_is_blocked(dead: ScheduleSimulation) -> None:
    await dead.end(SweepState.AWAITING_APPROVAL, "PredicateChanged", "match differs", tick=dead.clock() + 60)
    blocked = await answered(dead, "retry-dead-letters", nonce="1", error="Http500")
    assert blocked["message"] == (
        "2 rows are due for another attempt, which no worker starts before the sweep that awaits approval is approved"
    )
    await answered(dead, "approve", nonce="2")
    assert "being retried" in (await answered(dead, "retry-dead-letters", nonce="3", error="Http422"))["message"]
