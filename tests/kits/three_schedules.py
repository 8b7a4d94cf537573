"""Three schedules on one database: one that keeps up, one that falls behind, and one whose handler fails.

Their rows become stale at a constant rate without anything that inserts them: each has the time at which it is due. The table that falls behind
gets more rows than its schedule may sweep, and its database reports half of the load that is its limit, so the sweep is throttled too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kits.conversations_app import ConversationsApp, config_map, conversations_app
from tests.kits.kube_client import Cluster, Object

WELL, BEHIND, FAILING = "well", "behind", "failing"
INFLOW = {WELL: 2, BEHIND: 8, FAILING: 1}  # rows a second
MINUTES = 30
ROWS = 10  # conversations, which no schedule sweeps
TABLE = """
CREATE TABLE {name} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status text NOT NULL DEFAULT 'open', due_at timestamptz NOT NULL);
CREATE INDEX ON {name} (due_at);
"""
FILL = """
INSERT INTO {name} (due_at) SELECT now() + number * interval '1 second' / {rate} FROM generate_series(1, {rate} * 60 * {minutes}) AS number;
ANALYZE {name};
"""
HANDLER = """
async def remind(row, ctx):
    raise ConnectionError("the mail server does not respond")
"""
RATE = 8  # rows a second that the schedule which falls behind may sweep; its database allows half of them


@contextmanager
def three_schedules(cluster: Cluster) -> Iterator[ConversationsApp]:
    """A release with the three schedules, which are Ready. Their tables are empty until ``begin``."""
    with conversations_app(cluster, "three-schedules", ROWS, **{"console.enabled": "true"}) as app:
        with app.connect() as root:
            for name in INFLOW:
                root.execute(TABLE.format(name=name).encode())
        app.apply(config_map("handlers", {"reminders.py": HANDLER}))
        app.apply(*(schedule(app, name) for name in INFLOW))
        for name in INFLOW:
            app.until_condition(name, "Ready", "True", patience=180)
        yield app


def begin(app: ConversationsApp) -> None:
    """Insert the rows: they become stale one after the other from now on."""
    with app.connect() as root:
        for name, rate in INFLOW.items():
            root.execute(FILL.format(name=name, rate=rate, minutes=MINUTES).encode())


def schedule(app: ConversationsApp, name: str) -> Object:
    made = app.plain_schedule(name, table=name)
    spec = made["spec"]
    del spec["schedule"]
    spec |= {
        "every": "5s",
        "match": [{"column": "status", "in": ["open"]}, {"column": "due_at", "before": "now"}],
        "write": {"update": [{"column": "status", "value": "done"}]},
        "retry": {"maxAttempts": 2, "backoff": "1s"},
    }
    spec["worker"] |= {
        "minReplicas": 1,
        "maxReplicas": 1,
    }  # a worker that stays, so that it can be scraped until the end
    if name == WELL:
        spec["effect"] = {
            "columns": ["id"],
            "webhook": {"url": f"http://receiver.{app.namespace.name}.svc:8088/expired"},
        }
    if name == BEHIND:
        spec["limits"] = {
            "rowsPerSecond": RATE,
            "batchRows": 2 * RATE,
        }  # a larger batch uses up the rate of many seconds at once
        spec["source"]["health"] = {"query": {"sql": "SELECT 5", "limit": 10}}
    if name == FAILING:
        spec["effect"] = {"columns": ["id"], "handler": "reminders:remind"}
        spec["worker"] |= handler_mount()
    return made


def handler_mount() -> Object:
    container = {"name": "worker", "volumeMounts": [{"name": "handlers", "mountPath": "/handlers"}]}
    volume = {"name": "handlers", "configMap": {"name": "handlers"}}
    template = {"spec": {"containers": [container], "volumes": [volume]}}
    return {"podTemplate": template, "env": [{"name": "PYTHONPATH", "value": "/handlers"}]}
