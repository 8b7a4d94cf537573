"""A sweep in a storm: workers killed without grace, the leading controller killed, the queue restarted. The table that comes of it
is the one that would have come without."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.kits.conversations_app import EXPIRED, Desk, becomes, desk
from tests.kits.kube_client import Cluster

ROWS = 100_000
STALE = ROWS * 2 // 10
SMALL = {"batchRows": 20}
SLOW = 0.3  # seconds for each row, so that the sweep is under way at the last strike
STEP = 40  # rows from strike to strike
STEPS = ("worker",) * 8 + ("leader",) * 2 + ("redis",)
AUDIT = """
CREATE TABLE written (id bigint NOT NULL);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO written VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION audit();
"""


@pytest.fixture
def support(cluster: Cluster) -> Iterator[Desk]:
    with desk(cluster, "storm", ROWS, **{"controller.replicas": "2"}) as made:
        yield made


def kill(support: Desk, pod: str) -> None:
    support.here.kubectl("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")


def leader(support: Desk) -> str:
    """The controller's pod that holds the Lease; empty where it is none that lives."""
    lease = support.here.get("coordination.k8s.io/v1 Lease", support.release.fullname)
    holder = ((lease or {}).get("spec") or {}).get("holderIdentity") or ""
    pods = support.here.all("v1 Pod", "app.kubernetes.io/component=controller")
    names = [one["metadata"]["name"] for one in pods if "deletionTimestamp" not in one["metadata"]]
    return next((name for name in names if holder.startswith(name)), "")


def strike(support: Desk, step: str, chance: random.Random) -> str:
    """Kill one of them; its name."""
    if step == "worker":
        pods = becomes("there is a worker to kill", 120, lambda: support.pods(EXPIRED))
        victim = str(chance.choice(pods)["metadata"]["name"])
        kill(support, victim)
    elif step == "leader":
        victim = becomes("there is a leader to kill", 120, lambda: leader(support))
        kill(support, victim)
        becomes("another one leads", 120, lambda: leader(support) not in ("", victim))
    else:
        victim = f"{support.release.fullname}-redis-0"
        before = restarts(support, victim)
        password = support.release.password()
        script = 'REDISCLI_AUTH="$1" redis-cli shutdown nosave; true'
        with suppress(AssertionError):  # the shell may be killed with its container; the restart is seen below
            support.here.kubectl("exec", victim, "--", "sh", "-c", script, "sh", password)
        becomes("the queue was restarted", 60, lambda: restarts(support, victim) > before)
    return victim


def restarts(support: Desk, pod: str) -> int:
    found = support.here.get("v1 Pod", pod)
    return sum(each["restartCount"] for each in ((found or {}).get("status") or {}).get("containerStatuses") or ())


def test_the_same_table_comes_of_a_storm(support: Desk) -> None:
    chance = random.Random(20261124)
    with support.sql() as root:
        root.execute(AUDIT.encode())
    support.apply(support.example(EXPIRED, limits=SMALL))
    support.is_(EXPIRED, "Ready", "True", patience=120)
    support.slow(SLOW)
    support.order(EXPIRED, "trigger", "storm")
    began = time.monotonic()
    for number, step in enumerate(chance.sample(STEPS, len(STEPS))):
        goal = support.expired() + (STEP if number else 0)
        becomes(f"{goal} rows are swept", 300, lambda goal=goal: support.expired() >= goal)  # type: ignore[misc]
        victim = strike(support, step, chance)
        print(f"{time.monotonic() - began:6.1f} s  after {goal:6d} rows: {step} {victim}")
    assert support.expired() < STALE
    support.fast()
    sweep = support.completed(EXPIRED, patience=600)
    received = support.received()
    print(f"{time.monotonic() - began:6.1f} s  Completed: {sweep}", f"the receiver: {received}", sep="\n")
    assert support.expired() == STALE
    assert support.ask("SELECT count(*) FROM written") == support.ask("SELECT count(DISTINCT id) FROM written") == STALE
    assert received["keys"] == STALE
    assert sweep["planned"] == sum(sweep[one] for one in ("applied", "skipped", "unconfirmed", "retrying", "dead"))
    assert (sweep["retrying"], sweep["dead"]) == (0, 0)
    support.asleep(EXPIRED)
