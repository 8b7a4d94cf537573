"""A support desk in a cluster: a release of the chart, a PostgreSQL with conversations, a receiver of webhooks, and the example's
schedules. It is a namespace of its own, with a controller that serves no other, so that several desks never meet.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import psycopg
import yaml

from kubesweep.queue.connect import connect
from kubesweep.queue.model import ScheduleRef, Stats
from tests.cluster.testbed import REPOSITORY
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.releases import OWN, SCHEDULE, Release, another, apply
from tests.kits.workloads import PYTHON, Server, deployment, pod_spec, service, start_postgres

EXAMPLE = REPOSITORY / "examples" / "conversations"
EXPIRED, IDLE = "process-expired-conversations", "process-idle-conversations"
NEVER = "0 0 1 1 *"
RECEIVER = "from receiver import Receiver; Receiver(('0.0.0.0', 8088), quiet=True).serve_forever()"
SLOW = """
CREATE TABLE IF NOT EXISTS slow (seconds float NOT NULL);
DELETE FROM slow;
CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(seconds) FROM slow WHERE seconds > 0; RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER slow BEFORE UPDATE ON {table} FOR EACH ROW
    WHEN (NEW.status IN ('expired', 'abandoned')) EXECUTE FUNCTION slow();
"""
FAST = ("fsync = off", "full_page_writes = off", "synchronous_commit = off", "max_wal_size = '2GB'")
T = TypeVar("T")


def becomes(what: str, seconds: float, ask: Callable[[], T]) -> T:
    """The first answer that is true. For what nobody tells: rows of a table, numbers of a receiver. Asking takes a fifth of the
    time at most: counting a large table all the time would leave little of the machine to those who work on it."""
    seconds, asked = scaled(seconds), time.monotonic()
    until = asked + seconds
    while not (answer := ask()):
        now = time.monotonic()
        assert now < until, f"not within {seconds:g} s: {what}; the last answer was {answer!r}"
        time.sleep(min(2.0, max(0.1, 4 * (now - asked))))
        asked = time.monotonic()
    return answer


class Desk:
    """``here`` is its namespace; ``sql`` and ``received`` reach its servers through a tunnel."""

    def __init__(self, here: Namespace, tunnels: ExitStack) -> None:
        self.here = here
        self.release = Release(here)
        self._tunnels = tunnels
        self._postgres: Server | None = None
        self._ports: dict[str, int] = {}

    # the servers

    def open(self, rows: int) -> None:
        """Everything runs, and of ``rows`` conversations two tenths are expired, three idle."""
        self.here.apply(config_map("receiver", {"receiver.py": (EXAMPLE / "receiver.py").read_text()}))
        mount = {"workingDir": "/code", "volumeMounts": [{"name": "code", "mountPath": "/code"}]}
        volumes = [{"name": "code", "configMap": {"name": "receiver"}}]
        command = ["python3", "-c", RECEIVER]
        self.here.apply(deployment("receiver", pod_spec(PYTHON, command, container=mount, volumes=volumes)))
        self.here.apply(service("receiver", 8088))
        self._postgres = start_postgres(self.here)
        self.here.rolled_out("receiver")
        for name, port in (("postgres", 5432), ("receiver", 8088)):
            self._ports[name] = self._tunnels.enter_context(self.here.forwarded(f"service/{name}", port))
        with self.sql("postgres") as root:
            for setting in FAST:
                root.execute(f"ALTER SYSTEM SET {setting}".encode())
            root.execute("SELECT pg_reload_conf()")
            root.execute("CREATE DATABASE support")
        with self.sql() as root:
            root.execute((EXAMPLE / "schema-session-key.sql").read_bytes())
            root.execute(f"SET seed.rows = {rows}; SET seed.numbers = 500".encode())
            root.execute((EXAMPLE / "seed.sql").read_bytes())

    def url(self, user: str = "postgres", password: str = "") -> str:
        """Of the conversations, for pods."""
        assert self._postgres is not None
        return f"postgresql://{user}:{password or self._postgres.password}@{self._postgres.host}/support"

    def sql(self, database: str = "support") -> psycopg.Connection[tuple[Any, ...]]:
        assert self._postgres is not None
        where = f"127.0.0.1:{self._ports['postgres']}/{database}"
        alone = "-c max_parallel_workers_per_gather=0"  # a count must not have the whole machine
        url = f"postgresql://postgres:{self._postgres.password}@{where}"
        return psycopg.connect(url, autocommit=True, options=alone)

    def slow(self, seconds: float) -> None:
        """From now on the write of each conversation takes so long more: a sweep is under way until the test lets it go on, by ``fast``."""
        with self.sql() as root:
            slow(root, "conversations", seconds)

    def fast(self) -> None:
        with self.sql() as root:
            fast(root)

    def ask(self, query: str) -> Any:
        """The one value that a query gives."""
        with self.sql() as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def statuses(self) -> dict[str, int]:
        with self.sql() as connection:
            return dict(connection.execute("SELECT status, count(*) FROM conversations GROUP BY status").fetchall())

    def expired(self) -> int:
        return self.statuses().get("expired", 0)

    def received(self) -> dict[str, int]:
        """What the receiver counted: requests, keys, duplicates."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['receiver']}/", timeout=10) as answer:
            found: dict[str, int] = json.load(answer)
        return found

    # the schedules

    def secret(self, name: str = "support-db", url: str = "") -> Object:
        meta = {"name": name}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"url": url or self.url()}}

    def handlers(self) -> Object:
        """The example's package, for its handler."""
        files = {"__init__.py": "", "sweeps.py": (EXAMPLE / "support" / "sweeps.py").read_text()}
        return config_map("support", files)

    def example(self, name: str, **spec: Any) -> Object:
        """A schedule of the example's sweep.yaml, at home here; ``spec`` replaces fields."""
        documents = yaml.safe_load_all((EXAMPLE / "sweep.yaml").read_text())
        made: Object = next(each for each in documents if each["metadata"]["name"] == name)
        where = f"http://receiver.{self.here.name}.svc:8088"
        worker: Object = {"maxReplicas": 4, "jobsPerReplica": 5, "cooldown": "10s"}
        if name == EXPIRED:
            made["spec"]["effect"]["webhook"]["url"] = f"{where}/expired"
        else:
            mounts = [{"name": "support", "mountPath": "/handlers/support"}]
            container = {"name": "worker", "volumeMounts": mounts}
            volume = {"name": "support", "configMap": {"name": "support"}}
            worker["podTemplate"] = {"spec": {"containers": [container], "volumes": [volume]}}
            worker["env"] = [{"name": "PYTHONPATH", "value": "/handlers"}]
        made["spec"] |= {"schedule": NEVER, "worker": worker, **spec}
        return made

    def plain(self, name: str, secret: str = "support-db", table: str = "conversations", **spec: Any) -> Object:
        """The example's expired conversations under another name, without an effect."""
        source = {"urlFrom": {"secretKeyRef": {"name": secret, "key": "url"}}, "table": table}
        made = self.example(EXPIRED, source=source, **spec)
        made["metadata"]["name"] = name
        del made["spec"]["effect"]
        return made

    def apply(self, *objects: Object) -> None:
        apply(self.here, list(objects))

    def until(self, name: str, condition: Callable[[Object], Any], what: str, patience: float = 120) -> Object:
        """The schedule's status as soon as it is as wanted, for the present generation."""

        def met(found: Object) -> bool:
            status = found.get("status") or {}
            return status.get("observedGeneration") == found["metadata"]["generation"] and bool(condition(status))

        found = self.here.until(SCHEDULE, name, met, what=f"{name}: {what}", patience=patience)
        status: Object = found["status"]
        return status

    def is_(self, name: str, type_: str, status: str, reason: str = "", patience: float = 120) -> str:
        """The message of a condition as soon as it is so."""

        def met(found: Object) -> bool:
            one = condition(found, type_)
            return one["status"] == status and reason in ("", one["reason"])

        return str(condition(self.until(name, met, f"{type_}={status} {reason}", patience), type_)["message"])

    def completed(self, name: str, patience: float = 120) -> Object:
        """The latest sweep, as soon as it is Completed."""

        def met(status: Object) -> bool:
            return bool((status.get("lastSweep") or {}).get("state") == "Completed")

        sweep: Object = self.until(name, met, "the sweep is Completed", patience)["lastSweep"]
        return sweep

    def opened(self, name: str) -> float:
        """When the latest sweep was opened, as exactly as the queue knows it."""
        lease = self.here.get("coordination.k8s.io/v1 Lease", self.release.fullname)
        schedule = self.here.get(SCHEDULE, name)
        assert lease is not None
        assert schedule is not None
        ref = ScheduleRef(lease["metadata"]["uid"][:8], self.here.name, name, schedule["metadata"]["uid"])

        async def ask(port: int) -> Stats:
            queue = connect(f"redis://:{self.release.password()}@127.0.0.1:{port}/0")
            try:
                (stats,) = await queue.stats([ref])
            finally:
                await queue.close()
            return stats

        with self.here.forwarded(f"service/{self.release.fullname}-redis", 6379) as port:
            sweep = asyncio.run(ask(port)).sweep
        assert sweep is not None
        return sweep.started

    def status(self, name: str) -> Object:
        return self.until(name, bool, "it has a status")

    def order(self, name: str, order: str, nonce: str) -> None:
        self.here.kubectl("annotate", "--overwrite", "sweepschedule", name, f"kubesweep.dev/{order}={nonce}")

    def replicas(self, name: str) -> int:
        found = self.here.get("apps/v1 Deployment", f"{name}-worker")
        return int(found["spec"]["replicas"]) if found else 0

    def pods(self, name: str) -> list[Object]:
        return self.here.all("v1 Pod", f"kubesweep.dev/schedule={name},app.kubernetes.io/component=worker")

    def asleep(self, name: str, patience: float = 120) -> None:
        """Returns when no worker is wanted and none is left."""
        worker = f"{name}-worker"

        def none(found: Object) -> bool:
            status = found.get("status") or {}
            return not found["spec"]["replicas"] and not status.get("replicas")

        self.here.until("apps/v1 Deployment", worker, none, what=f"{worker} has no pods", patience=patience)

    def event(self, name: str, reason: str) -> Object:
        """The one Event of this reason about the schedule, as soon as there is one."""
        found = self.here.get(SCHEDULE, name)
        assert found is not None
        uid = found["metadata"]["uid"]

        def mine(events: list[Object]) -> list[Object]:
            return [one for one in events if one["regarding"].get("uid") == uid and one["reason"] == reason]

        [event] = mine(
            self.here.until_all(
                "events.k8s.io/v1 Event",
                "",
                lambda found: bool(mine(found)),
                what=f"{name} has an Event {reason}",
                patience=120,
            )
        )
        return event

    def delete(self, name: str) -> None:
        """Returns when it is gone."""
        self.here.kubectl("delete", "sweepschedule", name, f"--timeout={scaled(60):.0f}s")


def condition(status: Object, type_: str) -> Object:
    none = {"type": type_, "status": "Unknown", "reason": "", "message": ""}
    return next((one for one in status.get("conditions") or () if one["type"] == type_), none)


def slow(root: psycopg.Connection[Any], table: str, seconds: float) -> None:
    """As ``Desk.slow``, for a table of conversations or carts."""
    root.execute(SLOW.format(table=table).encode())
    root.execute("INSERT INTO slow VALUES (%s)", [seconds])


def fast(root: psycopg.Connection[Any]) -> None:
    """Also for the writes that are under way: a trigger sees what was committed since its statement began."""
    root.execute("UPDATE slow SET seconds = 0")


def config_map(name: str, files: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files}


@contextmanager
def desk(cluster: Cluster, what: str, rows: int, **values: str) -> Iterator[Desk]:
    """A desk, gone afterwards. ``values`` of the chart are added to those of a small release."""
    with another(cluster, what) as here, furnished(here, rows, values) as made:
        yield made


@contextmanager
def furnished(here: Namespace, rows: int, values: Mapping[str, str]) -> Iterator[Desk]:
    """A desk in a namespace that is there."""
    here.cluster.apply((REPOSITORY / "manifests" / "crd.yaml").read_text())
    with ExitStack() as tunnels:
        made = Desk(here, tunnels)
        made.release.install({**OWN, **values})
        made.open(rows)
        made.apply(made.secret(), made.handlers())
        yield made
