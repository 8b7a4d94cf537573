"""A sweep that runs until a test lets it finish: small batches, slow rows, and a record of every write.

For tests of workers that terminate during a sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.kits.conversations_app import EXPIRED, ConversationsApp, conversations_app
from tests.kits.kube_client import Cluster, Object
from tests.kits.polling import eventually

ROWS = 20_000
STALE = ROWS * 2 // 10
SMALL = {"batchRows": 10}
SLOW = 0.5  # seconds for each row, so that the sweep still runs at the drain
WORKERS = 3
AUDIT = """
CREATE TABLE written (id bigint NOT NULL);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO written VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON conversations FOR EACH ROW WHEN (NEW.status = 'expired') EXECUTE FUNCTION audit();
"""


@contextmanager
def slow_sweep_app(cluster: Cluster, what: str, **values: str) -> Iterator[ConversationsApp]:
    """The application with a table of all writes, and the slow schedule, which is Ready. ``values`` are for the chart."""
    with conversations_app(cluster, what, ROWS, **values) as made:
        with made.connect() as root:
            root.execute(AUDIT.encode())
        made.apply(slow_schedule(made))
        made.until_condition(EXPIRED, "Ready", "True", patience=120)
        yield made


def slow_schedule(app: ConversationsApp, worker: Mapping[str, object] | None = None, **spec: object) -> Object:
    small = {"maxReplicas": WORKERS, "jobsPerReplica": 2, "cooldown": "5s"}
    sweep = app.example_schedule(EXPIRED, limits=SMALL, worker={**small, **(worker or {})}, **spec)
    sweep["spec"]["effect"]["webhook"]["timeout"] = "60s"  # a slow receiver must not look unreachable
    return sweep


def until_more_rows(app: ConversationsApp, rows: int) -> None:
    """Wait until ``rows`` more rows are swept."""
    goal = app.count_expired() + rows
    eventually(f"{goal} rows are swept", 300, lambda: app.count_expired() >= goal)
