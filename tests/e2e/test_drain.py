"""Workers that go during a sweep: scaled down by KEDA, drained with their node, replaced after an edit. Each ends what it has in
hand, so no row is lost and none is done twice, in the table or at the receiver."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping

import pytest

from tests.kits.conversations_app import EXPIRED, Desk, becomes, desk
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Object

ROWS = 20_000
STALE = ROWS * 2 // 10
SMALL = {"batchRows": 10}
SLOW = 0.5  # seconds for each row, so that the sweep is under way at the drain
WORKERS = 3
AUDIT = """
CREATE TABLE written (id bigint NOT NULL);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO written VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON conversations FOR EACH ROW WHEN (NEW.status = 'expired') EXECUTE FUNCTION audit();
"""


@pytest.fixture
def support(cluster: Cluster) -> Iterator[Desk]:
    with desk(cluster, "drain", ROWS) as made:
        with made.sql() as root:
            root.execute(AUDIT.encode())
        made.apply(a_sweep(made))
        made.is_(EXPIRED, "Ready", "True", patience=120)
        yield made


def a_sweep(support: Desk, worker: Mapping[str, object] | None = None, **spec: object) -> Object:
    small = {"maxReplicas": WORKERS, "jobsPerReplica": 2, "cooldown": "5s"}
    sweep = support.example(EXPIRED, limits=SMALL, worker={**small, **(worker or {})}, **spec)
    sweep["spec"]["effect"]["webhook"]["timeout"] = "60s"  # a slow receiver must not look like one that is away
    return sweep


def goes_on(support: Desk, rows: int) -> None:
    """Returns when so many more rows are swept."""
    goal = support.expired() + rows
    becomes(f"{goal} rows are swept", 300, lambda: support.expired() >= goal)


def workers(support: Desk, *numbers: int) -> list[Object]:
    """The pods of the workers, once there are as many as one of these numbers and all of them work."""

    def ready(found: list[Object]) -> bool:
        return len(found) in numbers and all(
            "deletionTimestamp" not in each["metadata"] and _is(each, "Ready", "True") for each in found
        )

    chosen = f"kubesweep.dev/schedule={EXPIRED},app.kubernetes.io/component=worker"
    return support.here.until_all("v1 Pod", chosen, ready, what=f"{numbers} workers work", patience=120)


def _is(pod: Object, type_: str, status: str) -> bool:
    return any((each["type"], each["status"]) == (type_, status) for each in pod["status"].get("conditions") or ())


def balanced(support: Desk) -> None:
    """The sweep completed, and each row was written once and told once."""
    sweep = support.completed(EXPIRED, patience=600)
    assert (sweep["planned"], sweep["applied"], sweep["retrying"], sweep["dead"]) == (STALE, STALE, 0, 0), sweep
    assert "history" not in support.status(EXPIRED)
    assert support.ask("SELECT count(*) FROM written") == support.ask("SELECT count(DISTINCT id) FROM written") == STALE
    assert support.expired() == STALE
    assert support.received() == {"requests": STALE, "keys": STALE, "duplicates": 0}


def most(support: Desk, replicas: int) -> None:
    patch = json.dumps({"spec": {"maxReplicaCount": replicas}})
    support.here.kubectl("patch", "scaledobject", f"{EXPIRED}-worker", "--type=merge", f"--patch={patch}")


def drain(support: Desk, pods: list[Object]) -> None:
    """Empty the nodes of workers, and give them back once the schedule has said what it lacks."""
    nodes = {str(each["spec"]["nodeName"]) for each in pods}
    chosen = f"--pod-selector=kubesweep.dev/schedule={EXPIRED}"
    try:
        began = time.monotonic()
        for node in nodes:
            support.here.kubectl("drain", node, chosen, "--delete-emptydir-data", f"--timeout={scaled(180):.0f}s")
        print(
            f"{time.monotonic() - began:6.1f} s  until {len(pods)} workers had ended what they had in hand, and were gone"
        )
        done = support.expired()
        assert done < STALE, "the node was to be drained amid the sweep"
        assert "unschedulable" in support.is_(EXPIRED, "Ready", "False", "WorkerStuck")
        assert support.expired() == done
    finally:
        for node in nodes:
            support.here.kubectl("uncordon", node)


@pytest.mark.bed
def test_workers_that_are_scaled_down_or_drained_lose_and_repeat_nothing(support: Desk) -> None:
    support.slow(SLOW)
    support.order(EXPIRED, "trigger", "drain")
    goes_on(support, 1)
    workers(support, WORKERS)
    most(support, 1)  # of KEDA alone: what the controller is told stays as it is
    workers(support, 1)
    most(support, WORKERS)
    goes_on(support, 20)
    drain(support, workers(support, 2, WORKERS))  # as many as KEDA finds the queue to need by now
    support.fast()
    balanced(support)


def test_edits_during_a_sweep_call_the_receiver_once_for_each_row(support: Desk) -> None:
    support.slow(SLOW)
    support.order(EXPIRED, "trigger", "edit")
    goes_on(support, 1)
    faster = {"maxReplicas": WORKERS + 1, "jobsPerReplica": 1, "concurrency": 3}
    support.apply(a_sweep(support, worker=faster))
    goes_on(support, 50)
    assert "history" not in support.status(EXPIRED), "an edit of the pace leaves the sweep as it is"
    support.apply(a_sweep(support, worker=faster, retry={"maxAttempts": 7}))

    def superseded(status: Object) -> bool:
        return [each["state"] for each in status.get("history") or ()] == ["Superseded"]

    support.until(EXPIRED, superseded, "the sweep is superseded")
    goes_on(support, 50)
    support.fast()
    support.completed(EXPIRED, patience=600)
    assert support.expired() == STALE
    assert support.ask("SELECT count(*) FROM written") == support.ask("SELECT count(DISTINCT id) FROM written") == STALE
    assert support.received() == {"requests": STALE, "keys": STALE, "duplicates": 0}
