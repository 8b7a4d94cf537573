"""Failures of the database, the Secret and the queue: each is reported by a condition and an Event, and recovers when its cause ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kits.conversations_app import ConversationsApp, conversations_app
from tests.kits.kube_client import Cluster
from tests.kits.polling import eventually
from tests.kits.workloads import service

ROWS = 2000
STALE = ROWS * 2 // 10
SECRET_SEEN = 180  # seconds until the kubelet updates a mounted Secret and the worker reads it
SMALL = {"batchRows": 10}
SLOW = 1.0  # seconds for each row
PROBLEMS = {  # schedule: reason, and a part of the message
    "no-secret": ("UrlMissing", 'the Secret "no-such-secret" in namespace'),
    "bad-password": ("AuthenticationFailed", 'The URL is "url" in the Secret "bad-password"'),
    "bad-scheme": ("UrlInvalid", 'The URL is "url" in the Secret "bad-scheme"'),
    "no-table": ("TableMissing", "later"),
    "no-server": ("Unreachable", "Connection refused"),
}


@pytest.fixture(scope="module")
def shared_app(cluster: Cluster) -> Iterator[ConversationsApp]:
    with conversations_app(cluster, "bad-days", ROWS) as made:
        with made.connect() as root:
            root.execute(b"CREATE ROLE sweeper LOGIN SUPERUSER PASSWORD 'right'")
        yield made


@pytest.fixture
def app(shared_app: ConversationsApp) -> ConversationsApp:
    """The application with its initial rows, whatever the previous test did."""
    with shared_app.connect() as root:
        root.execute(b"UPDATE conversations SET status = 'pending' WHERE status = 'expired'")
    return shared_app


def test_a_problem_of_a_source_is_reported_and_ends_with_its_cause(app: ConversationsApp) -> None:
    right = app.database_url("sweeper", "right")
    unreachable = service("late-db", 5432)
    app.apply(
        {**unreachable, "spec": {**unreachable["spec"], "selector": {"app": "none"}}},
        app.secret("no-server", right.replace("@postgres.", "@late-db.")),
        app.plain_schedule("no-server", "no-server"),
        app.secret("bad-password", app.database_url("sweeper", "wrong")),
        app.secret("bad-scheme", "mysql://root:hunter2@db/support"),
        app.plain_schedule("no-secret", "no-such-secret"),
        app.plain_schedule("bad-password", "bad-password"),
        app.plain_schedule("bad-scheme", "bad-scheme"),
        app.plain_schedule("no-table", table="later"),
    )
    for name, (reason, sentence) in PROBLEMS.items():
        message = app.until_condition(name, "SourceReady", "False", reason, patience=SECRET_SEEN)
        assert (sentence in message, "hunter2" in message) == (True, False)
        app.until_condition(name, "Ready", "False", "SourceNotReady")
        event = app.until_event(name, "SourceNotReady")
        assert (event["type"], reason in event["note"]) == ("Warning", True)
    app.apply(
        {**unreachable, "spec": {**unreachable["spec"], "selector": {"app": "postgres"}}},
        app.secret("no-such-secret"),
        app.secret("bad-password", right),
        app.secret("bad-scheme", right),
    )
    with app.connect() as root:
        root.execute(b"CREATE TABLE later (LIKE conversations INCLUDING ALL)")
    for name in PROBLEMS:
        app.until_condition(name, "Ready", "True", patience=SECRET_SEEN)
        app.until_condition(name, "SourceReady", "True", "Checked")
    for name in PROBLEMS:
        app.until_no_workers(name)
        app.delete(name)


def test_a_password_that_changes_after_the_check_fails_a_sweep_and_recovers_without_a_tick(
    app: ConversationsApp,
) -> None:
    app.apply(app.secret("rotated", app.database_url("sweeper", "right")), app.plain_schedule("rotated", "rotated"))
    app.until_condition("rotated", "Ready", "True", patience=SECRET_SEEN)
    app.until_no_workers("rotated")
    with app.connect() as root:
        root.execute(b"ALTER ROLE sweeper PASSWORD 'new'")
    app.annotate("rotated", "trigger", "1")
    app.until_condition("rotated", "Ready", "False", "SourceNotReady", patience=SECRET_SEEN)
    app.until_condition("rotated", "Degraded", "True", "LastSweepFailed")
    app.apply(app.secret("rotated", app.database_url("sweeper", "new")))
    app.until_condition("rotated", "Ready", "True", patience=SECRET_SEEN)
    app.annotate("rotated", "trigger", "2")
    app.until_completed("rotated")
    assert app.count_expired() == STALE
    app.until_condition("rotated", "Degraded", "False")
    with app.connect() as root:
        root.execute(b"ALTER ROLE sweeper PASSWORD 'right'")
    app.delete("rotated")


def test_a_schedule_becomes_ready_when_the_queue_starts_later(app: ConversationsApp) -> None:
    redis = f"{app.release.fullname}-redis"
    app.namespace.kubectl("scale", f"statefulset/{redis}", "--replicas=0")
    app.namespace.until_gone("v1 Pod", f"{redis}-0")
    app.apply(app.plain_schedule("early"))
    assert "Nothing is lost" in app.until_condition("early", "Ready", "False", "QueueUnavailable")
    app.until_event("early", "QueueUnavailable")
    app.namespace.kubectl("scale", f"statefulset/{redis}", "--replicas=1")
    app.until_condition("early", "Ready", "True", patience=120)
    app.delete("early")


def test_a_sweep_restarts_when_the_queue_loses_its_data(app: ConversationsApp) -> None:
    app.apply(app.plain_schedule("flushed", limits=SMALL))
    app.until_condition("flushed", "Ready", "True", patience=120)
    app.slow_writes(SLOW)
    app.annotate("flushed", "trigger", "1")
    eventually("some rows are swept", 120, lambda: app.count_expired() > 10)
    assert app.release.redis("FLUSHALL", password=app.release.password()) == "OK"
    app.until_event("flushed", "Lost")
    app.full_speed()
    eventually("all rows are swept", 180, lambda: app.count_expired() == STALE)
    sweep = app.until_completed("flushed")
    assert sweep["planned"] < STALE
    app.until_condition("flushed", "Degraded", "False")
    app.delete("flushed")


def test_a_schedule_recreated_during_a_sweep_starts_over(app: ConversationsApp) -> None:
    app.apply(app.plain_schedule("recreated", limits=SMALL))
    app.until_condition("recreated", "Ready", "True", patience=120)
    app.slow_writes(SLOW)
    app.annotate("recreated", "trigger", "1")
    eventually("some rows are swept", 120, lambda: app.count_expired() > 10)
    app.delete("recreated")
    chosen = "kubesweep.dev/schedule=recreated"
    app.namespace.until_all("v1 Pod", chosen, lambda left: not left, what="its workers are gone", patience=120)
    app.full_speed()
    app.apply(app.plain_schedule("recreated"))
    app.until_condition("recreated", "Ready", "True", patience=120)
    left = STALE - app.count_expired()
    assert left > 0
    assert "lastSweep" not in app.status("recreated")
    app.annotate("recreated", "trigger", "1")
    sweep = app.until_completed("recreated")
    assert (sweep["planned"], sweep["applied"], app.count_expired()) == (left, left, STALE)
    app.delete("recreated")


def test_a_due_retry_scales_up_from_zero(app: ConversationsApp) -> None:
    with app.connect() as root:
        root.execute(
            b"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
            b" BEGIN IF NEW.id = 10 THEN RAISE EXCEPTION 'not now'; END IF; RETURN NEW; END $$;"
            b"CREATE TRIGGER refuse BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    retry = {"maxAttempts": 20, "backoff": "20s", "maxBackoff": "20s"}
    app.apply(app.plain_schedule("retrying", retry=retry))
    app.until_condition("retrying", "Ready", "True", patience=120)
    app.annotate("retrying", "trigger", "1")
    app.until_completed("retrying")
    app.apply(app.plain_schedule("retrying", retry=retry, suspend=True))
    app.until_condition("retrying", "Suspended", "True")
    app.until_no_workers("retrying")
    assert app.status("retrying")["queue"] == {"ready": 0, "running": 0, "delayed": 1, "dead": 0}
    with app.connect() as root:
        root.execute(b"DROP TRIGGER refuse ON conversations; DROP FUNCTION refuse")
    app.apply(app.plain_schedule("retrying", retry=retry))
    eventually("the row is swept", 180, lambda: app.count_expired() == STALE)
    app.until_no_workers("retrying")
    app.delete("retrying")
