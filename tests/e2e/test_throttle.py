"""A person, or the health of the database, slows a running sweep down, pauses it and lets it go on: the same pods, the same sweep."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from kubesweep_controller.children.names import COMPONENT_LABEL, SCHEDULE_LABEL, WORKER
from tests.kits.conversations_app import EXPIRED, ConversationsApp
from tests.kits.kube_client import Cluster, Object
from tests.kits.polling import eventually
from tests.kits.slow_sweep import STALE, slow_schedule, slow_sweep_app, until_more_rows


@pytest.fixture
def app(cluster: Cluster) -> Iterator[ConversationsApp]:
    with slow_sweep_app(cluster, "throttle") as made:
        yield made


ONE_WORKER = {"minReplicas": 1, "maxReplicas": 1}
QUIET = 3.0  # seconds; at the rate before, 15 requests arrive in this time


def pods(app: ConversationsApp) -> set[str]:
    found = app.namespace.all("v1 Pod", f"{SCHEDULE_LABEL}={EXPIRED},{COMPONENT_LABEL}={WORKER}")
    return {each["metadata"]["uid"] for each in found}


def until_quiet(app: ConversationsApp) -> None:
    """Wait until no request has arrived for ``QUIET`` seconds."""
    last, since = -1, time.monotonic()

    def is_quiet() -> bool:
        nonlocal last, since
        requests = app.receiver_summary()["requests"]
        if requests != last:
            last, since = requests, time.monotonic()
        return time.monotonic() - since >= QUIET

    eventually("no row is started", 60, is_quiet)


def throttled_by(app: ConversationsApp, reason: str) -> dict[str, Any]:
    """The throttle in the status; empty while it has another reason."""
    found = app.status(EXPIRED).get("throttle") or {}
    return found if found.get("reason") == reason else {}


def with_health(app: ConversationsApp, value: int) -> Object:
    """The schedule, with a signal of this value and the limit 1."""
    sweep = slow_schedule(app, worker=ONE_WORKER)
    sweep["spec"]["source"]["health"] = {"query": {"sql": f"SELECT {value}", "limit": 1}}
    return sweep


def test_a_new_rate_reaches_the_same_pods_in_the_same_sweep(app: ConversationsApp) -> None:
    app.apply(slow_schedule(app, worker=ONE_WORKER))
    app.annotate(EXPIRED, "throttle", "5")
    app.annotate(EXPIRED, "trigger", "now")
    until_more_rows(app, 1)
    before = pods(app)
    app.annotate(EXPIRED, "throttle", "pause")
    until_quiet(app)
    assert app.count_expired() < STALE
    app.annotate(EXPIRED, "throttle", "200")
    until_more_rows(app, 1)
    app.apply(with_health(app, 7))
    app.annotate(EXPIRED, "throttle", "")
    throttle = eventually("the signal is in the status", 60, lambda: throttled_by(app, "Query"))
    assert (throttle["percent"], throttle["value"], throttle["limit"]) == (0, "7", "1")
    assert throttle["message"] == "paused: health.query: 7 > 1"
    until_quiet(app)
    assert app.count_expired() < STALE
    app.apply(with_health(app, 0))
    app.annotate(EXPIRED, "throttle", "off")
    app.until_completed(EXPIRED)
    after = pods(app)
    assert after
    assert after <= before  # a pod from before the first edit may have ended
    assert app.receiver_summary() == {"requests": STALE, "keys": STALE, "duplicates": 0}
    status = app.status(EXPIRED)
    assert status.get("history") in (None, [])
    assert status["handled"]["throttle"] == "off"
