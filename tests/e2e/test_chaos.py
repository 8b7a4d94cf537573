"""A sweep while its parts are killed: workers without grace, the leading controller, and the queue. The table ends as without the kills."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.kits.conversations_app import EXPIRED, ConversationsApp, conversations_app
from tests.kits.kube_client import Cluster
from tests.kits.polling import eventually

ROWS = 100_000
STALE = ROWS * 2 // 10
SMALL = {"batchRows": 20}
SLOW = 0.3  # seconds for each row, so that the sweep still runs at the last kill
STEP = 40  # rows between two kills
STEPS = ("worker",) * 8 + ("leader",) * 2 + ("redis",)
AUDIT = """
CREATE TABLE written (id bigint NOT NULL);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO written VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION audit();
"""


@pytest.fixture
def app(cluster: Cluster) -> Iterator[ConversationsApp]:
    with conversations_app(cluster, "chaos", ROWS, **{"controller.replicas": "2"}) as made:
        yield made


def delete_now(app: ConversationsApp, pod: str) -> None:
    app.namespace.kubectl("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")


def leader(app: ConversationsApp) -> str:
    """The controller pod that holds the Lease; empty where that pod is terminating or gone."""
    lease = app.namespace.get("coordination.k8s.io/v1 Lease", app.release.fullname)
    holder = ((lease or {}).get("spec") or {}).get("holderIdentity") or ""
    pods = app.namespace.all("v1 Pod", "app.kubernetes.io/component=controller")
    names = [one["metadata"]["name"] for one in pods if "deletionTimestamp" not in one["metadata"]]
    return next((name for name in names if holder.startswith(name)), "")


def kill_one(app: ConversationsApp, step: str, chance: random.Random) -> str:
    """Kill a worker, the leader or the queue. Returns the pod's name."""
    if step == "worker":
        pods = eventually("there is a worker to kill", 120, lambda: app.worker_pods(EXPIRED))
        victim = str(chance.choice(pods)["metadata"]["name"])
        delete_now(app, victim)
    elif step == "leader":
        victim = eventually("there is a leader to kill", 120, lambda: leader(app))
        delete_now(app, victim)
        eventually("another pod is the leader", 120, lambda: leader(app) not in ("", victim))
    else:
        victim = f"{app.release.fullname}-redis-0"
        before = restarts(app, victim)
        password = app.release.password()
        script = 'REDISCLI_AUTH="$1" redis-cli shutdown nosave; true'
        with suppress(AssertionError):  # the shell may be killed with its container; the restart is checked below
            app.namespace.kubectl("exec", victim, "--", "sh", "-c", script, "sh", password)
        eventually("the queue was restarted", 60, lambda: restarts(app, victim) > before)
    return victim


def restarts(app: ConversationsApp, pod: str) -> int:
    found = app.namespace.get("v1 Pod", pod)
    return sum(each["restartCount"] for each in ((found or {}).get("status") or {}).get("containerStatuses") or ())


def test_kills_during_a_sweep_leave_the_same_table(app: ConversationsApp) -> None:
    chance = random.Random(20261124)
    with app.connect() as root:
        root.execute(AUDIT.encode())
    app.apply(app.example_schedule(EXPIRED, limits=SMALL))
    app.until_condition(EXPIRED, "Ready", "True", patience=120)
    app.slow_writes(SLOW)
    app.annotate(EXPIRED, "trigger", "chaos")
    began = time.monotonic()
    for number, step in enumerate(chance.sample(STEPS, len(STEPS))):
        goal = app.count_expired() + (STEP if number else 0)
        eventually(f"{goal} rows are swept", 300, lambda goal=goal: app.count_expired() >= goal)  # type: ignore[misc]
        victim = kill_one(app, step, chance)
        print(f"{time.monotonic() - began:6.1f} s  after {goal:6d} rows: {step} {victim}")
    assert app.count_expired() < STALE
    app.full_speed()
    sweep = app.until_completed(EXPIRED, patience=600)
    received = app.receiver_summary()
    print(f"{time.monotonic() - began:6.1f} s  Completed: {sweep}", f"the receiver: {received}", sep="\n")
    assert app.count_expired() == STALE
    assert (
        app.query_value("SELECT count(*) FROM written")
        == app.query_value("SELECT count(DISTINCT id) FROM written")
        == STALE
    )
    assert received["keys"] == STALE
    assert sweep["planned"] == sum(sweep[one] for one in ("applied", "skipped", "unconfirmed", "retrying", "dead"))
    assert (sweep["retrying"], sweep["dead"]) == (0, 0)
    app.until_no_workers(EXPIRED)
