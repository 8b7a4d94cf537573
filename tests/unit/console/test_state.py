"""The state of a schedule: conditions decide, and the most pressing one is shown."""

from __future__ import annotations

from typing import Any

import pytest

from kubesweep_console.provider import ActionKind
from kubesweep_console.views.state import Urgency, advised, state_of
from tests.kits.console import condition, schedule, sweep

NOT_READY = condition("Ready", "False", "SourceNotReady", "the table is missing")
BEHIND = condition("KeepingUp", "False", "FallingBehind", "at this inflow it never empties")
DEAD = condition("Degraded", "True", "DeadLetters", "7 rows are dead letters")
FAILED = condition("Degraded", "True", "LastSweepFailed", "the sweep failed")
SUSPENDED = condition("Suspended", "True", "Suspended")


@pytest.mark.parametrize(
    ("conditions", "label", "urgency"),
    [
        ([], "Completed", Urgency.GOOD),
        ([condition("Ready", "True"), condition("Degraded", "False")], "Completed", Urgency.GOOD),
        ([NOT_READY, BEHIND, FAILED, SUSPENDED], "Not ready", Urgency.BAD),
        ([condition("Stalled", "True"), condition("Ready", "True")], "Not ready", Urgency.BAD),
        ([FAILED, BEHIND], "Failed", Urgency.BAD),
        ([DEAD, BEHIND], "Falling behind", Urgency.BAD),
        ([DEAD, SUSPENDED], "Dead letters", Urgency.WARN),
        ([condition("Degraded", "True", "AwaitingApproval")], "Awaits approval", Urgency.WARN),
        ([condition("Degraded", "True", "OfALaterVersion")], "Degraded", Urgency.WARN),
        ([condition("SourceReady", "False", "TableMissing")], "Not ready", Urgency.BAD),
        ([condition("KeepingUp", "Unknown"), SUSPENDED], "Suspended", Urgency.OFF),
        ([condition("KeepingUp", "True")], "Completed", Urgency.GOOD),
    ],
)
def test_the_most_pressing_condition_is_the_state(conditions: list[Any], label: str, urgency: Urgency) -> None:
    found = state_of(schedule(conditions=conditions, lastSweep=sweep()))
    assert (found.label, found.urgency) == (label, urgency)


def test_the_message_of_the_condition_is_the_reason() -> None:
    assert state_of(schedule(conditions=[NOT_READY])).why == "the table is missing"
    assert state_of(schedule(conditions=[condition("Ready", "True")])).why == ""


@pytest.mark.parametrize(
    ("status", "label"),
    [
        ({}, "Never swept"),
        ({"conditions": [condition("Ready", "Unknown", "Checking")]}, "Checking"),
        ({"lastSweep": sweep("Planning", took=None)}, "Planning"),
        ({"lastSweep": sweep("Running", took=None, planned=200, applied=50)}, "Running 25 %"),
        ({"lastSweep": sweep("Running", took=None), "throttle": {"percent": 0, "message": "lag"}}, "Paused by health"),
        ({"lastSweep": sweep("Running", took=None), "throttle": {"value": "pause", "message": "0"}}, "Paused"),
        ({"lastSweep": sweep("Running", took=None), "throttle": {"value": "2.5", "message": "2.5"}}, "Running 100 %"),
        ({"lastSweep": sweep("OfALaterVersion")}, "Never swept"),
    ],
)
def test_without_a_problem_the_latest_sweep_is_the_state(status: dict[str, Any], label: str) -> None:
    assert state_of(schedule(**status)).label == label


def test_the_numbers_are_old_while_the_queue_does_not_answer() -> None:
    unavailable = condition("Ready", "False", "QueueUnavailable", "the queue cannot be reached")
    assert state_of(schedule(conditions=[unavailable])).stale
    assert not state_of(schedule(conditions=[NOT_READY])).stale


def test_a_condition_that_one_action_settles_names_it() -> None:
    assert advised(DEAD) == (ActionKind.RETRY, ActionKind.PURGE)
    assert advised(SUSPENDED) == (ActionKind.RESUME,)
    assert advised(condition("Degraded", "False", "DeadLetters")) == ()
    assert advised(NOT_READY) == ()
