"""The schedules of the soak. Each has a lane of its own: rows that only this schedule sweeps, in one table of one database.

Three kinds of lanes:

- The first eight are quick. There is one for each release, database and table. Their worker stays, and they tick every ten seconds, so they show
  soon whether everything works again after a fault.
- The next four are slow, and have a backlog at the beginning, so that faults meet workers in the middle of a long sweep.
- All others tick every few minutes, and their workers start from zero.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.kits.kube_client import Object

QUICK, SLOW = 8, 4
TABLES = ("invoices", "sessions")
SECONDS = 0.2  # for each row of a slow lane
DEFECT = 400  # of so many rows one cannot be written, and becomes a dead letter
SCHEMA = """
CREATE TABLE {table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, lane int NOT NULL, status text NOT NULL DEFAULT 'open',
    due_at timestamptz NOT NULL DEFAULT now(), defect bool NOT NULL);
CREATE INDEX ON {table} (lane, due_at) WHERE status = 'open';
CREATE TABLE {table}_written (id bigint NOT NULL, lane int NOT NULL);
CREATE INDEX ON {table}_written (lane, id);
CREATE FUNCTION {table}_write() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.defect THEN RAISE EXCEPTION 'this row cannot be written'; END IF;
        IF NEW.lane BETWEEN {first} AND {last} THEN PERFORM pg_sleep({seconds}); END IF;
        INSERT INTO {table}_written VALUES (NEW.id, NEW.lane);
        RETURN NULL;
    END $$;
CREATE TRIGGER written AFTER UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_write();
"""


@dataclass(frozen=True)
class Lane:
    """``of`` is the number of lanes. The more there are, the longer the periods, so that pods start at about the same rate."""

    number: int
    of: int

    @property
    def name(self) -> str:
        return f"lane-{self.number:02d}"

    @property
    def release(self) -> int:
        return self.number % 2

    @property
    def database(self) -> int:
        return self.number // 2 % 2

    @property
    def table(self) -> str:
        return TABLES[self.number // 4 % 2]

    @property
    def quick(self) -> bool:
        return self.number < QUICK

    @property
    def slow(self) -> bool:
        return QUICK <= self.number < QUICK + SLOW

    @property
    def webhook(self) -> bool:
        return self.number % 3 == 0

    @property
    def every(self) -> int:
        """Seconds between two ticks. Periods count from the epoch, so they differ: otherwise all would tick at once."""
        return 10 if self.quick else 6 * (self.of - QUICK) + 3 * self.number

    def schedule(self, receiver: str) -> Object:
        """The SweepSchedule. ``receiver``: the URL of the webhooks."""
        match: list[Object] = [
            {"column": "lane", "in": [self.number]},
            {"column": "status", "in": ["open"]},
            {"column": "due_at", "before": "now"},
        ]
        spec: Object = {
            "every": f"{self.every}s",
            "source": {
                "urlFrom": {"secretKeyRef": {"name": f"database-{self.database}", "key": "url"}},
                "table": self.table,
            },
            "match": match,
            "write": {"update": [{"column": "status", "value": "done"}]},
            "limits": {"batchRows": 50},
            "retry": {"maxAttempts": 2, "backoff": "1s"},
            "worker": {
                "minReplicas": int(self.quick),
                "maxReplicas": 2,
                "concurrency": 4 if self.slow else 2,
                "cooldown": "10s",
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            },
        }
        if self.webhook:
            spec["effect"] = {"columns": ["id"], "webhook": {"url": receiver}}
        return {
            "apiVersion": "kubesweep.dev/v1alpha1",
            "kind": "SweepSchedule",
            "metadata": {"name": self.name},
            "spec": spec,
        }


def schema(table: str) -> str:
    return SCHEMA.format(table=table, first=QUICK, last=QUICK + SLOW - 1, seconds=SECONDS)
