"""A queue of several servers, which the chart is only told of: a primary under Sentinels, and a Redis Cluster.

The controller, KEDA and the workers each find the server by a client of their own, and follow when it dies amid a sweep."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kubesweep.queue.model import ScheduleRef
from tests.kits.conversations_app import ConversationsApp, conversations_app_in
from tests.kits.kube_client import Namespace, Object
from tests.kits.polling import eventually
from tests.kits.redis_topologies import NODES, SENTINELS, RedisTopology, start_cluster, start_sentinels
from tests.kits.releases import SCHEDULE

ROWS = 2000
STALE = ROWS * 2 // 10
SLOW = 2.0  # seconds for each row, so that the sweep is under way when a second worker has come and the queue's server was killed
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
    """How long each step took, for the reader of the test's output."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, what: str) -> None:
        now = time.monotonic()
        print(f"{now - self._last:7.1f} s  {what}")
        self._last = now


@pytest.fixture
def step() -> Steps:
    return Steps()


def late(app: ConversationsApp, name: str, which: str = "true", **spec: Any) -> Object:
    """A schedule of the expired conversations for which the SQL ``which`` is true."""
    made = app.plain_schedule(name, limits={"batchRows": 5}, worker=WORKER, retry=RETRY, **spec)
    made["spec"]["match"].append({"sql": which})
    return made


def test_a_sweep_continues_on_the_replica_that_sentinels_promote(
    namespace: Namespace, step: Steps, tmp_path: Path
) -> None:
    queue = start_sentinels(namespace, tmp_path)
    step("the Sentinels know each other")
    with conversations_app_in(namespace, ROWS, queue.values) as app:
        step("installed")
        begin(app, late(app, "late"))
        step("Ready, and asleep")
        trigger(app, step, "late")
        first = primary(queue)
        queue.kill(first)
        eventually("the other server is the primary", 60, lambda: primary(queue) != first)
        assert app.count_expired() < STALE - 2
        app.full_speed()
        step("the primary killed, the replica promoted")
        finish(app, step, "late")


def test_two_sweeps_continue_when_a_redis_cluster_promotes_a_replica(
    namespace: Namespace, step: Steps, tmp_path: Path
) -> None:
    queue = start_cluster(namespace, tmp_path)
    step("the cluster is whole")
    with conversations_app_in(namespace, ROWS, queue.values) as app:
        step("installed")
        even, odd = on_two_masters(app, queue)
        step("two schedules, whose keys are on two masters")
        trigger(app, step, even, odd)
        first = master(queue, app, even)
        queue.kill(first)
        eventually("its replica is the master", 60, lambda: master(queue, app, even) not in (0, first))
        assert app.count_expired() < STALE - 2
        app.full_speed()
        step("a master killed, its replica promoted")
        finish(app, step, even, odd)


def begin(app: ConversationsApp, *schedules: Object) -> None:
    with app.connect() as root:
        root.execute(WATCHED.encode())
    app.apply(*schedules)
    names = [each["metadata"]["name"] for each in schedules]
    for name in names:
        app.until_condition(name, "Ready", "True")
    for name in names:
        app.until_no_workers(name)


def trigger(app: ConversationsApp, step: Steps, *names: str) -> None:
    """Returns amid the sweeps, which are slow, when each has two workers."""
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


def finish(app: ConversationsApp, step: Steps, *names: str) -> None:
    """The sweeps end. What was refused wakes a worker when it is due, and so does another tick. Every row is written once."""
    eventually("all rows are swept but the refused ones", 120, lambda: app.count_expired() == STALE - 2)
    for name in names:
        app.until_completed(name)
    step("all rows swept, and the sweeps Completed")
    for name in names:
        suspend(app, name, "true")
    for name in names:
        app.until_no_workers(name)
        app.until_status(name, only_a_retry, "only a retry waits")
    step("suspended, and asleep, with retries in the queue")
    with app.connect() as root:
        root.execute(b"DELETE FROM refused")
    for name in names:
        suspend(app, name, "false")
    eventually("the refused rows are swept", 120, lambda: app.count_expired() == STALE)
    step("resumed, and the retries woke workers")
    for name in names:
        app.until_no_workers(name)
    step("asleep")
    with app.connect() as root:
        root.execute(b"UPDATE conversations SET status = 'pending' WHERE id IN (20, 21)")
    for name in names:
        app.annotate(name, "trigger", "2")
    eventually("the rows that turned stale are swept", 120, lambda: app.count_expired() == STALE)
    step("from no worker to the rows of a second tick")
    for name in names:
        app.until_no_workers(name)
    step("asleep")
    assert (
        app.query_value("SELECT count(*) FROM writes"),
        app.query_value("SELECT count(DISTINCT id) FROM writes"),
    ) == (
        STALE + 2,
        STALE,
    )


def only_a_retry(status: Object) -> bool:
    queue = status["queue"]  # where a retry that is due counts as ready
    return bool(queue["ready"] + queue["delayed"] == 1 and queue["running"] == 0)


def suspend(app: ConversationsApp, name: str, value: str) -> None:
    app.namespace.kubectl("patch", "sweepschedule", name, "--type=merge", f'--patch={{"spec":{{"suspend":{value}}}}}')


def primary(queue: RedisTopology) -> int:
    """The port of the server that the Sentinels name."""
    [_, port] = queue.command(SENTINELS[0], "sentinel", "get-master-addr-by-name", "queue")
    return int(port)


def on_two_masters(app: ConversationsApp, queue: RedisTopology) -> tuple[str, str]:
    """Two schedules, of one half of the rows each, whose keys are on different masters: their uids, which chance makes, decide."""
    begin(app, late(app, "even", "t.id % 2 = 0"))
    for number in range(20):
        name = f"odd-{number}"
        app.apply(late(app, name, "t.id % 2 = 1", suspend=True))
        if master(queue, app, name) != master(queue, app, "even"):
            suspend(app, name, "false")
            app.until_condition(name, "Ready", "True")
            app.until_no_workers(name)
            return "even", name
        app.delete(name)
    raise AssertionError("20 schedules on the master of the first")


def master(queue: RedisTopology, app: ConversationsApp, name: str) -> int:
    """The port of the node that serves the schedule's keys, as the last of the nodes sees it; 0: none."""
    lease = app.namespace.get("coordination.k8s.io/v1 Lease", app.release.fullname)
    schedule = app.namespace.get(SCHEDULE, name)
    assert lease is not None
    assert schedule is not None
    ref = ScheduleRef(lease["metadata"]["uid"][:8], app.namespace.name, name, schedule["metadata"]["uid"])
    [slot] = queue.command(NODES[-1], "cluster", "keyslot", ref.prefix)
    for line in queue.command(NODES[-1], "cluster", "nodes"):
        _, address, flags, _, _, _, _, _, *served = line.split()  # 10.0.0.1:7001@17001,name
        if "master" in flags and "fail" not in flags:
            ranges = [each.partition("-") for each in served if not each.startswith("[")]
            if any(int(first) <= int(slot) <= int(last or first) for first, _, last in ranges):
                return int(address.partition("@")[0].rpartition(":")[2])
    return 0
