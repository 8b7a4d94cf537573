"""What each status of a webhook's answer means, and when its Retry-After ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from kubesweep.errors import Outage, RowError
from kubesweep_worker.effects.webhook_response import Answer, class_of, raise_for_response, retry_after

STATUSES = range(100, 1000)
SUCCESSES = set(range(200, 300))
TRY_LATER = {408, 425, 429, *range(500, 600)}
REDIRECTS = {301, 302, 303, 307, 308}


def failure(status: int) -> Outage | RowError | None:
    try:
        raise_for_response(Answer(status, {}), 0.0)
    except (Outage, RowError) as error:
        return error
    return None


def test_only_2xx_succeeds_and_408_425_429_and_5xx_say_nothing_about_the_row() -> None:
    failures = {status: failure(status) for status in STATUSES}
    assert {status for status, error in failures.items() if error is None} == SUCCESSES
    assert {status for status, error in failures.items() if isinstance(error, Outage)} == TRY_LATER
    assert {status for status, error in failures.items() if "a redirect" in str(error)} == REDIRECTS


def test_a_failure_is_named_after_its_status_and_an_empty_body_adds_nothing() -> None:
    for status in set(STATUSES) - SUCCESSES:
        error = failure(status)
        name = error.reason if isinstance(error, Outage) else error.error if error else None
        assert name == f"Http{status}"
        assert status in REDIRECTS or str(error) == f"the receiver answered {status}"


def test_the_class_in_the_metrics_is_the_hundred_of_a_status_that_http_defines() -> None:
    classes = {status: class_of(status) for status in STATUSES}
    assert classes.pop(429) == "429"
    assert {status for status, name in classes.items() if name == "2xx"} == SUCCESSES
    assert {status for status, name in classes.items() if name == "3xx"} == set(range(300, 400))
    assert {status for status, name in classes.items() if name == "5xx"} == set(range(500, 600))
    assert set(classes.values()) == {"2xx", "3xx", "4xx", "5xx"}


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "EST5")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
@pytest.mark.parametrize("zone", ["", " -0000", " GMT", " +0000"])
def test_a_retry_after_without_a_zone_is_in_utc_wherever_the_worker_runs(zone: str) -> None:
    assert retry_after(f"Thu, 01 Jan 1970 00:01:00{zone}", 10.0) == 50.0
