"""Edits of a schedule during its sweep: workers are replaced, and the receiver is called once for each row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kits.conversations_app import EXPIRED, ConversationsApp
from tests.kits.kube_client import Cluster, Object
from tests.kits.slow_sweep import SLOW, STALE, WORKERS, slow_schedule, slow_sweep_app, until_more_rows


@pytest.fixture
def app(cluster: Cluster) -> Iterator[ConversationsApp]:
    with slow_sweep_app(cluster, "edits") as made:
        yield made


def test_edits_during_a_sweep_call_the_receiver_once_for_each_row(app: ConversationsApp) -> None:
    app.slow_writes(SLOW)
    app.annotate(EXPIRED, "trigger", "edit")
    until_more_rows(app, 1)
    faster = {"maxReplicas": WORKERS + 1, "jobsPerReplica": 1, "concurrency": 3}
    app.apply(slow_schedule(app, worker=faster))
    until_more_rows(app, 50)
    assert "history" not in app.status(EXPIRED), "an edit of tuning fields keeps the sweep"
    app.apply(slow_schedule(app, worker=faster, retry={"maxAttempts": 7}))

    def superseded(status: Object) -> bool:
        return [each["state"] for each in status.get("history") or ()] == ["Superseded"]

    app.until_status(EXPIRED, superseded, "the sweep is superseded")
    until_more_rows(app, 50)
    app.full_speed()
    app.until_completed(EXPIRED, patience=600)
    assert app.count_expired() == STALE
    assert (
        app.query_value("SELECT count(*) FROM written")
        == app.query_value("SELECT count(DISTINCT id) FROM written")
        == STALE
    )
    assert app.receiver_summary() == {"requests": STALE, "keys": STALE, "duplicates": 0}
