"""External queues of several servers: a primary under Sentinels, and a Redis Cluster.

The controller, KEDA and the workers use different clients. Each finds the server, and follows a failover during a sweep.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.kits.conversations_app import ConversationsApp, conversations_app_in
from tests.kits.kube_client import Namespace, Object
from tests.kits.polling import eventually
from tests.kits.redis_topologies import NODES, SENTINELS, RedisTopology, start_cluster, start_sentinels

ROWS = 2000
STALE = ROWS * 2 // 10
SLOW = 2.0  # seconds for each row, so that the sweep still runs when a second worker is ready and the queue's server was killed
WORKER = {"maxReplicas": 2, "jobsPerReplica": 2, "cooldown": "5s"}
RETRY = {"maxAttempts": 20, "backoff": "15s", "maxBackoff": "15s"}
WATCHED = """
CREATE TABLE writes (id bigint);
CREATE TABLE refused (id bigint);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.id IN (SELECT id FROM refused) THEN RAISE EXCEPTION 'not now'; END IF;
    IF NEW.status = 'expired' THEN INSERT INTO writes VALUES (NEW.id); END IF;
    RETURN NEW; END $$;
CREATE TRIGGER note AFTER UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO refused VALUES (10), (11);
"""


class Steps:
    """Prints how long each step took."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, what: str) -> None:
        now = time.monotonic()
        print(f"{now - self._last:7.1f} s  {what}")
        self._last = now


@pytest.fixture
def step() -> Steps:
    return Steps()


def matching_schedule(app: ConversationsApp, name: str, which: str = "true", **spec: Any) -> Object:
    """A schedule of the expired conversations for which the SQL ``which`` is true."""
    made = app.plain_schedule(name, limits={"batchRows": 5}, worker=WORKER, retry=RETRY, **spec)
    made["spec"]["match"].append({"sql": which})
    return made


def test_a_sweep_continues_on_the_replica_that_sentinels_promote(
    namespace: Namespace, step: Steps, tmp_path: Path
) -> None:
    queue = start_sentinels(namespace, tmp_path)
    step("the Sentinels are ready")
    with conversations_app_in(namespace, ROWS, queue.values) as app:
        step("installed")
        apply_and_settle(app, matching_schedule(app, "every-row"))
        step("Ready, without workers")
        start_sweeps(app, step, "every-row")
        first = primary(queue)
        queue.kill(first)
        eventually("the other server is the primary", 60, lambda: primary(queue) != first)
        assert app.count_expired() < STALE - 2
        app.full_speed()
        step("the primary killed, the replica promoted")
        assert_sweeps_complete(app, step, "every-row")


def test_two_sweeps_continue_when_a_redis_cluster_promotes_a_replica(
    namespace: Namespace, step: Steps, tmp_path: Path
) -> None:
    queue = start_cluster(namespace, tmp_path)
    step("the cluster is ready")
    with conversations_app_in(namespace, ROWS, queue.values) as app:
        step("installed")
        even, odd = on_two_masters(app, queue)
        step("two schedules, whose keys are on two masters")
        start_sweeps(app, step, even, odd)
        first = master(queue, app, even)
        queue.kill(first)
        eventually("its replica is the master", 60, lambda: master(queue, app, even) not in (0, first))
        assert app.count_expired() < STALE - 2
        app.full_speed()
        step("a master killed, its replica promoted")
        assert_sweeps_complete(app, step, even, odd)


def apply_and_settle(app: ConversationsApp, *schedules: Object) -> None:
    with app.connect() as root:
        root.execute(WATCHED.encode())
    app.apply(*schedules)
    names = [each["metadata"]["name"] for each in schedules]
    for name in names:
        app.until_condition(name, "Ready", "True")
    for name in names:
        app.until_no_workers(name)


def start_sweeps(app: ConversationsApp, step: Steps, *names: str) -> None:
    """Start slow sweeps and wait until each schedule has two workers."""
    app.slow_writes(SLOW)
    for name in names:
        app.annotate(name, "trigger", "1")
    eventually("the first rows are swept", 120, lambda: app.count_expired() > 0)
    step("from no worker to the first rows")
    for name in names:
        app.namespace.until(
            "apps/v1 Deployment",
            f"{name}-worker",
            lambda found: found["status"].get("readyReplicas") == 2,
            what=f"{name} has a second worker",
        )
    step("a second worker each")


def assert_sweeps_complete(app: ConversationsApp, step: Steps, *names: str) -> None:
    """Let the sweeps complete. Due retries and a second tick each scale up from zero, and every row is written once."""
    eventually("all rows are swept but the refused ones", 120, lambda: app.count_expired() == STALE - 2)
    for name in names:
        app.until_completed(name)
    step("all rows swept, and the sweeps Completed")
    for name in names:
        suspend(app, name, "true")
    for name in names:
        app.until_no_workers(name)
        app.until_status(name, only_a_retry, "only a retry waits")
    step("suspended, without workers, with retries in the queue")
    with app.connect() as root:
        root.execute(b"DELETE FROM refused")
    for name in names:
        suspend(app, name, "false")
    eventually("the refused rows are swept", 120, lambda: app.count_expired() == STALE)
    step("resumed, and workers handled the retries")
    for name in names:
        app.until_no_workers(name)
    step("no workers")
    with app.connect() as root:
        root.execute(b"UPDATE conversations SET status = 'pending' WHERE id IN (20, 21)")
    for name in names:
        app.annotate(name, "trigger", "2")
    eventually("the rows that turned stale are swept", 120, lambda: app.count_expired() == STALE)
    step("from no worker to the rows of a second tick")
    for name in names:
        app.until_no_workers(name)
    step("no workers")
    assert (
        app.query_value("SELECT count(*) FROM writes"),
        app.query_value("SELECT count(DISTINCT id) FROM writes"),
    ) == (
        STALE + 2,
        STALE,
    )


def only_a_retry(status: Object) -> bool:
    queue = status["queue"]  # a due retry counts as ready
    return bool(queue["ready"] + queue["delayed"] == 1 and queue["running"] == 0)


def suspend(app: ConversationsApp, name: str, value: str) -> None:
    app.namespace.kubectl("patch", "sweepschedule", name, "--type=merge", f'--patch={{"spec":{{"suspend":{value}}}}}')


def primary(queue: RedisTopology) -> int:
    """The port of the primary, from a Sentinel."""
    [_, port] = queue.command(SENTINELS[0], "sentinel", "get-master-addr-by-name", "queue")
    return int(port)


def on_two_masters(app: ConversationsApp, queue: RedisTopology) -> tuple[str, str]:
    """Two schedules of half of the rows each, with keys on different masters. Their random UIDs decide the master."""
    apply_and_settle(app, matching_schedule(app, "even", "t.id % 2 = 0"))
    for number in range(20):
        name = f"odd-{number}"
        app.apply(matching_schedule(app, name, "t.id % 2 = 1", suspend=True))
        if master(queue, app, name) != master(queue, app, "even"):
            suspend(app, name, "false")
            app.until_condition(name, "Ready", "True")
            app.until_no_workers(name)
            return "even", name
        app.delete(name)
    raise AssertionError("20 schedules have their keys on the master of the first")


def master(queue: RedisTopology, app: ConversationsApp, name: str) -> int:
    """The port of the node that serves the schedule's keys, from the last node's view; 0 if there is none."""
    [slot] = queue.command(NODES[-1], "cluster", "keyslot", app.schedule_ref(name).prefix)
    for line in queue.command(NODES[-1], "cluster", "nodes"):
        _, address, flags, _, _, _, _, _, *served = line.split()  # 10.0.0.1:7001@17001,name
        if "master" in flags and "fail" not in flags:
            ranges = [each.partition("-") for each in served if not each.startswith("[")]
            if any(int(first) <= int(slot) <= int(last or first) for first, _, last in ranges):
                return int(address.partition("@")[0].rpartition(":")[2])
    return 0
