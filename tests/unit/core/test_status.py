"""The shape of a status: what a controller may write into it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kubesweep.api.models.status import Status

WHOLE: dict[str, Any] = {
    "observedGeneration": 3,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 3,
            "lastTransitionTime": "2026-03-01T00:00:05Z",
            "reason": "Checked",
            "message": "The table was found and the check passed.",
        }
    ],
    "lastScheduleTime": "2026-03-01T00:05:00Z",
    "lastSuccessfulTime": "2026-03-01T00:00:41.250000Z",
    "resumedTime": "2026-03-01T00:03:00Z",
    "signals": [
        {"name": "replayLag", "value": "0.1 s", "limit": "2.0 s", "percent": 100, "since": "2026-03-01T00:04:00Z"}
    ],
    "throttle": {
        "reason": "Annotation",
        "value": "250",
        "limit": "5000",
        "since": "2026-03-01T00:04:00Z",
        "message": "the annotation kubesweep.dev/throttle sets the rate: 250 rows per second",
    },
    "lastSweep": {
        "id": "29511365",
        "tick": "2026-03-01T00:05:00Z",
        "mode": "Enforce",
        "state": "Running",
        "startTime": "2026-03-01T00:05:01Z",
        "cutoff": "2026-03-01 00:05:01.5+00",
        "planned": 1000,
        "applied": 900,
        "skipped": 1,
        "unconfirmed": 0,
        "retrying": 2,
        "dead": 1,
        "capped": True,
        "sampleKeys": ['["42"]'],
        "proposal": {
            "rows": 1000,
            "estimated": True,
            "oldestTime": "2026-02-01T00:00:00Z",
            "newestTime": "2026-03-01T00:00:00Z",
            "sampleKeys": ['["42"]'],
        },
    },
    "baseline": {
        "table": "2fb5f9fe442c28a8",
        "match": "0c1d",
        "write": "update",
        "effect": "none",
        "database": "7291/shop/16384",
        "timeline": 1,
        "since": "2026-03-01T00:00:00Z",
    },
    "history": [{"id": "29511360", "tick": "2026-03-01T00:00:00Z", "state": "Completed", "planned": 90, "stale": 140}],
    "queue": {"ready": 3, "running": 1, "delayed": 1, "dead": 1},
    "oldestReadyTime": "2026-03-01T00:05:02Z",
    "errors": [{"error": "23505", "count": 1, "message": "duplicate key", "sampleKeys": ['["7"]']}],
    "handled": {"trigger": "1", "approve": "2", "retryDeadLetters": "3", "purgeDeadLetters": "4", "throttle": "250"},
    "answers": [
        {
            "command": "RetryDeadLetters",
            "nonce": "3",
            "outcome": "Done",
            "reason": "DeadLettersRetried",
            "message": "1 row is being retried",
            "rows": 1,
            "time": "2026-03-01T00:04:00Z",
        }
    ],
}


def test_a_whole_status_is_taken_and_comes_back_as_it_was() -> None:
    assert Status.model_validate(WHOLE).model_dump(by_alias=True, exclude_unset=True) == WHOLE


def test_a_status_that_was_never_written_says_that_no_generation_was_seen() -> None:
    assert Status().observed_generation == -1


@pytest.mark.parametrize(
    "wrong",
    [
        {"lastScheduleTime": "yesterday"},
        {"lastSweep": {"id": "1", "tick": "2026-03-01T00:05:00Z"}},
        {"queue": {"waiting": 1}},
        {"queue": {"ready": -1}},
        {"history": [{"id": "1", "tick": "2026-03-01T00:00:00Z", "state": "Completed"}] * 11},
        {"errors": [{"error": "E", "count": 1, "sampleKeys": ["1", "2", "3", "4"]}]},
        {"answers": [WHOLE["answers"][0]] * 6},
        {"answers": [{"command": "Trigger", "nonce": "1"}]},
        {"conditions": [{"type": "Ready", "status": "Yes", "reason": "R", "message": ""}]},
    ],
)
def test_what_the_cluster_would_refuse_or_drop_is_no_status(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Status.model_validate(wrong)
