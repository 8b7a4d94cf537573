"""The state of a schedule in one word."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_sweep.views.health import WORDS, health_of
from kubesweep_console.documents import Schedule
from tests.unit.kubectl.objects import NOW, Object, ago, condition, schedule, sweep


def not_ready(reason: str) -> Object:
    return condition("Ready", "False", reason)


@pytest.mark.parametrize(
    ("found", "word", "reason"),
    [
        (schedule(), "Ready", ""),
        (schedule(observedGeneration=-1), "Unobserved", ""),
        (schedule(observedGeneration=1), "Unobserved", ""),
        (schedule(spec={"suspend": True}), "Suspended", ""),
        (schedule(not_ready("Checking")), "Checking", ""),
        (schedule(not_ready("SourceNotReady"), readyCode="TableMissing"), "NotReady", "TableMissing"),
        (schedule(not_ready("WorkerStuck")), "NotReady", "WorkerStuck"),
        (schedule(condition("Degraded", "True", "AwaitingApproval")), "Degraded", "AwaitingApproval"),
        (schedule(condition("Degraded", "True", "DeadLetters")), "Degraded", "DeadLetters"),
        (schedule(condition("KeepingUp", "False", "FallingBehind")), "Degraded", "FallingBehind"),
        (schedule(oldestReadyTime=ago(901)), "Overdue", ""),
        (schedule(oldestReadyTime=ago(900)), "Ready", ""),
        (schedule(condition("Degraded", "True", "DeadLetters"), oldestReadyTime=ago(901)), "Overdue", ""),
        (schedule(condition("KeepingUp", "False", "FallingBehind"), oldestReadyTime=ago(901)), "Overdue", "FallingBehind"),
        (schedule(throttle={"reason": "ReplayLag", "percent": 50}), "Ready", "Throttled"),
        (schedule(throttle={"reason": "ReplayLag", "percent": 0}), "Ready", "Paused"),
        (schedule(throttle={"reason": "Annotation", "value": "pause"}), "Ready", "Paused"),
    ],
)  # fmt: skip
def test_the_state_is_one_word_and_its_reason_another(found: Object, word: str, reason: str) -> None:
    health = health_of(Schedule(found), NOW)
    assert (health.word, health.reason) == (word, reason)
    assert health.word in WORDS


@pytest.mark.parametrize(
    ("fields", "word", "reason"),
    [
        ({"throttle": {"reason": "Annotation", "value": "pause"}}, "Ready", "Paused"),
        ({"throttle": {"reason": "ReplayLag", "percent": 0, "value": "4.1 s"}}, "Overdue", "Paused"),
        ({"resumedTime": ago(899)}, "Ready", ""),
        ({"resumedTime": ago(1799)}, "Overdue", ""),
        ({"resumedTime": ago(1801)}, "Overdue", ""),
        ({"resumedTime": "yesterday"}, "Overdue", ""),
    ],
)
def test_a_pause_that_a_person_set_makes_nothing_overdue(fields: dict[str, Any], word: str, reason: str) -> None:
    """Neither while it lasts, nor before the same time has passed again. One that the database causes does."""
    waits: dict[str, Any] = {
        "oldestReadyTime": ago(3600),
        "backlog": {"rows": 5, "oldestTime": ago(3600), "observedTime": ago(0)},
    }
    health = health_of(Schedule(schedule(**waits, **fields)), NOW)
    assert (health.word, health.reason) == (word, reason)


# Every ten minutes; 15 minutes ago is 11:45, whose latest ticks are 11:40 and 11:30.
@pytest.mark.parametrize(("oldest", "late"), [(1801, True), (1799, False), (60, False)])
def test_a_row_is_overdue_after_two_ticks_and_a_quarter_of_an_hour(oldest: float, late: bool) -> None:
    found = schedule(backlog={"rows": 5, "oldestTime": ago(oldest), "observedTime": ago(0)})
    assert (health_of(Schedule(found), NOW).word == "Overdue") is late


def test_rows_that_a_dry_run_leaves_are_not_overdue_as_the_alert_leaves_them_out() -> None:
    backlog = {"rows": 5, "oldestTime": ago(7200), "observedTime": ago(0)}
    found = schedule(backlog=backlog, lastSweep=sweep(mode="DryRun"))
    assert health_of(Schedule(found), NOW).word == "Ready"


@pytest.mark.parametrize(("resumed", "late"), [(1801, True), (1799, False)])
def test_two_ticks_are_counted_from_the_end_of_a_pause(resumed: float, late: bool) -> None:
    backlog = {"rows": 5, "oldestTime": ago(7200), "observedTime": ago(0)}
    found = schedule(backlog=backlog, resumedTime=ago(resumed))
    assert (health_of(Schedule(found), NOW).word == "Overdue") is late
