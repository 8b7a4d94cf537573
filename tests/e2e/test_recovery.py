"""Bad days of what a schedule needs: each is a condition and an Event that say what to do, and is over by itself with its cause."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kits.conversations_app import Desk, becomes, desk
from tests.kits.kube_client import Cluster
from tests.kits.workloads import service

ROWS = 2000
STALE = ROWS * 2 // 10
SEEN = 180  # seconds until kubelet shows a changed Secret to a pod, and the worker in it has looked
SMALL = {"batchRows": 10}
SLOW = 1.0  # seconds for each row


@pytest.fixture(scope="module")
def open_desk(cluster: Cluster) -> Iterator[Desk]:
    with desk(cluster, "bad-days", ROWS) as made:
        with made.sql() as root:
            root.execute(b"CREATE ROLE sweeper LOGIN SUPERUSER PASSWORD 'right'")
        yield made


@pytest.fixture
def support(open_desk: Desk) -> Desk:
    """The desk as it was at first, whatever the test before did."""
    with open_desk.sql() as root:
        root.execute(b"UPDATE conversations SET status = 'pending' WHERE status = 'expired'")
    return open_desk


def test_what_is_wrong_with_a_source_is_said_and_over_with_its_cause(support: Desk) -> None:
    right = support.url("sweeper", "right")
    late = service("late-db", 5432)
    support.apply(
        {**late, "spec": {**late["spec"], "selector": {"app": "nobody"}}},
        support.secret("no-server", right.replace("@postgres.", "@late-db.")),
        support.plain("no-server", "no-server"),
        support.secret("bad-password", support.url("sweeper", "wrong")),
        support.secret("bad-scheme", "mysql://root:hunter2@db/support"),
        support.plain("no-secret", "no-such-secret"),
        support.plain("bad-password", "bad-password"),
        support.plain("bad-scheme", "bad-scheme"),
        support.plain("no-table", table="later"),
    )
    expected = {
        "no-secret": ("UrlMissing", 'the Secret "no-such-secret" in namespace'),
        "bad-password": ("AuthenticationFailed", 'The URL is "url" in the Secret "bad-password"'),
        "bad-scheme": ("UrlInvalid", 'The URL is "url" in the Secret "bad-scheme"'),
        "no-table": ("TableMissing", "later"),
        "no-server": ("Unreachable", "Connection refused"),
    }
    for name, (reason, sentence) in expected.items():
        message = support.is_(name, "SourceReady", "False", reason, patience=SEEN)
        assert (sentence in message, "hunter2" in message) == (True, False)
        support.is_(name, "Ready", "False", "SourceNotReady")
        event = support.event(name, "SourceNotReady")
        assert (event["type"], reason in event["note"]) == ("Warning", True)
    support.apply(
        {**late, "spec": {**late["spec"], "selector": {"app": "postgres"}}},
        support.secret("no-such-secret"),
        support.secret("bad-password", right),
        support.secret("bad-scheme", right),
    )
    with support.sql() as root:
        root.execute(b"CREATE TABLE later (LIKE conversations INCLUDING ALL)")
    for name in expected:
        support.is_(name, "Ready", "True", patience=SEEN)
        support.is_(name, "SourceReady", "True", "Checked")
    for name in expected:
        support.asleep(name)
        support.delete(name)


def test_a_password_that_changes_after_the_check_fails_a_sweep_and_heals_without_a_tick(support: Desk) -> None:
    support.apply(support.secret("rotated", support.url("sweeper", "right")), support.plain("rotated", "rotated"))
    support.is_("rotated", "Ready", "True", patience=SEEN)
    support.asleep("rotated")
    with support.sql() as root:
        root.execute(b"ALTER ROLE sweeper PASSWORD 'new'")
    support.order("rotated", "trigger", "1")
    support.is_("rotated", "Ready", "False", "SourceNotReady", patience=SEEN)
    support.is_("rotated", "Degraded", "True", "LastSweepFailed")
    support.apply(support.secret("rotated", support.url("sweeper", "new")))
    support.is_("rotated", "Ready", "True", patience=SEEN)
    support.order("rotated", "trigger", "2")
    support.completed("rotated")
    assert support.expired() == STALE
    support.is_("rotated", "Degraded", "False")
    with support.sql() as root:
        root.execute(b"ALTER ROLE sweeper PASSWORD 'right'")
    support.delete("rotated")


def test_a_queue_that_is_down_at_the_start_is_waited_for(support: Desk) -> None:
    redis = f"{support.release.fullname}-redis"
    support.here.kubectl("scale", f"statefulset/{redis}", "--replicas=0")
    support.here.until_gone("v1 Pod", f"{redis}-0")
    support.apply(support.plain("early"))
    assert "Nothing is lost" in support.is_("early", "Ready", "False", "QueueUnavailable")
    support.event("early", "QueueUnavailable")
    support.here.kubectl("scale", f"statefulset/{redis}", "--replicas=1")
    support.is_("early", "Ready", "True", patience=120)
    support.delete("early")


def test_a_queue_that_forgets_everything_amid_a_sweep_is_healed_at_once(support: Desk) -> None:
    support.apply(support.plain("flushed", limits=SMALL))
    support.is_("flushed", "Ready", "True", patience=120)
    support.slow(SLOW)
    support.order("flushed", "trigger", "1")
    becomes("some rows are swept", 120, lambda: support.expired() > 10)
    assert support.release.redis("FLUSHALL", password=support.release.password()) == "OK"
    support.event("flushed", "Lost")
    support.fast()
    becomes("all rows are swept", 180, lambda: support.expired() == STALE)
    sweep = support.completed("flushed")
    assert sweep["planned"] < STALE
    support.is_("flushed", "Degraded", "False")
    support.delete("flushed")


def test_a_schedule_made_anew_under_its_name_amid_a_sweep_starts_over(support: Desk) -> None:
    support.apply(support.plain("anew", limits=SMALL))
    support.is_("anew", "Ready", "True", patience=120)
    support.slow(SLOW)
    support.order("anew", "trigger", "1")
    becomes("some rows are swept", 120, lambda: support.expired() > 10)
    support.delete("anew")
    chosen = "kubesweep.dev/schedule=anew"
    support.here.until_all("v1 Pod", chosen, lambda left: not left, what="its workers are gone", patience=120)
    support.fast()
    support.apply(support.plain("anew"))
    support.is_("anew", "Ready", "True", patience=120)
    left = STALE - support.expired()
    assert left > 0
    assert "lastSweep" not in support.status("anew")
    support.order("anew", "trigger", "1")
    sweep = support.completed("anew")
    assert (sweep["planned"], sweep["applied"], support.expired()) == (left, left, STALE)
    support.delete("anew")


def test_a_row_that_waits_for_its_retry_wakes_a_worker_that_had_gone(support: Desk) -> None:
    with support.sql() as root:
        root.execute(
            b"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
            b" BEGIN IF NEW.id = 10 THEN RAISE EXCEPTION 'not now'; END IF; RETURN NEW; END $$;"
            b"CREATE TRIGGER refuse BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    retry = {"maxAttempts": 20, "backoff": "20s", "maxBackoff": "20s"}
    support.apply(support.plain("late", retry=retry))
    support.is_("late", "Ready", "True", patience=120)
    support.order("late", "trigger", "1")
    support.completed("late")
    support.apply(support.plain("late", retry=retry, suspend=True))
    support.is_("late", "Suspended", "True")
    support.asleep("late")
    assert support.status("late")["queue"] == {"ready": 0, "running": 0, "delayed": 1, "dead": 0}
    with support.sql() as root:
        root.execute(b"DROP TRIGGER refuse ON conversations; DROP FUNCTION refuse")
    support.apply(support.plain("late", retry=retry))
    becomes("the row is swept", 180, lambda: support.expired() == STALE)
    support.asleep("late")
    support.delete("late")
