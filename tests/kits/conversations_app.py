"""The application of examples/conversations in a cluster: a release of the chart, PostgreSQL, a receiver of webhooks, and the example's schedules.

Each has a namespace of its own and a controller that serves only that namespace, so several can run side by side.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import yaml

from tests.cluster.testbed import REPOSITORY
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.releases import NAMESPACED, temporary_namespace
from tests.kits.schedules import ScheduleClient
from tests.kits.workloads import PYTHON, Server, deployment, pod_spec, service, start_postgres

EXAMPLE = REPOSITORY / "examples" / "conversations"
EXPIRED, IDLE = "process-expired-conversations", "process-idle-conversations"
NEVER = "0 0 1 1 *"
RECEIVER = "from receiver import Receiver; Receiver(('0.0.0.0', 8088), quiet=True).serve_forever()"
SLOW_TRIGGER = """
CREATE TABLE IF NOT EXISTS slow (seconds float NOT NULL);
DELETE FROM slow;
CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(seconds) FROM slow WHERE seconds > 0; RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER slow BEFORE UPDATE ON {table} FOR EACH ROW
    WHEN (NEW.status IN ('expired', 'abandoned')) EXECUTE FUNCTION slow();
"""
FAST_SETTINGS = ("fsync = off", "full_page_writes = off", "synchronous_commit = off", "max_wal_size = '2GB'")


class ConversationsApp(ScheduleClient):
    """``connect`` and ``receiver_summary`` reach the pods' servers through a forwarded port."""

    def __init__(self, namespace: Namespace, tunnels: ExitStack) -> None:
        super().__init__(namespace)
        self._tunnels = tunnels
        self._postgres: Server | None = None
        self._ports: dict[str, int] = {}

    def deploy(self, rows: int) -> None:
        """Start the servers and insert ``rows`` conversations: two tenths are expired, three tenths are idle."""
        apply_receiver(self.namespace)
        self._postgres = start_postgres(self.namespace)
        self.namespace.rolled_out("receiver")
        for name, port in (("postgres", 5432), ("receiver", 8088)):
            self._ports[name] = self._tunnels.enter_context(self.namespace.forwarded(f"service/{name}", port))
        with self.connect("postgres") as root:
            for setting in FAST_SETTINGS:
                root.execute(f"ALTER SYSTEM SET {setting}".encode())
            root.execute("SELECT pg_reload_conf()")
            root.execute("CREATE DATABASE support")
        with self.connect() as root:
            root.execute((EXAMPLE / "schema-session-key.sql").read_bytes())
            root.execute(f"SET seed.rows = {rows}; SET seed.numbers = 500".encode())
            root.execute((EXAMPLE / "seed.sql").read_bytes())

    def database_url(self, user: str = "postgres", password: str = "") -> str:
        """The URL of the conversations, for pods."""
        assert self._postgres is not None
        return f"postgresql://{user}:{password or self._postgres.password}@{self._postgres.host}/support"

    def connect(self, database: str = "support") -> psycopg.Connection[tuple[Any, ...]]:
        assert self._postgres is not None
        where = f"127.0.0.1:{self._ports['postgres']}/{database}"
        serial = "-c max_parallel_workers_per_gather=0"  # a parallel count would take every core
        url = f"postgresql://postgres:{self._postgres.password}@{where}"
        return psycopg.connect(url, autocommit=True, options=serial)

    def slow_writes(self, seconds: float) -> None:
        """Make each write of a conversation take ``seconds`` longer, so that a sweep still runs until ``full_speed`` is called."""
        with self.connect() as root:
            slow_writes(root, "conversations", seconds)

    def full_speed(self) -> None:
        with self.connect() as root:
            full_speed(root)

    def query_value(self, query: str) -> Any:
        """The single value that a query returns."""
        with self.connect() as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def counts_by_status(self) -> dict[str, int]:
        with self.connect() as connection:
            return dict(connection.execute("SELECT status, count(*) FROM conversations GROUP BY status").fetchall())

    def count_expired(self) -> int:
        return self.counts_by_status().get("expired", 0)

    def receiver_summary(self) -> dict[str, int]:
        """The receiver's counters: requests, keys, duplicates."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['receiver']}/", timeout=10) as answer:
            found: dict[str, int] = json.load(answer)
        return found

    def secret(self, name: str = "support-db", url: str = "") -> Object:
        data = {"url": url or self.database_url()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}

    def handlers(self) -> Object:
        """A ConfigMap with the example's package, which has its handler."""
        files = {"__init__.py": "", "sweeps.py": (EXAMPLE / "support" / "sweeps.py").read_text()}
        return config_map("support", files)

    def example_schedule(self, name: str, **spec: Any) -> Object:
        """A schedule of the example's sweep.yaml, adapted to this namespace; ``spec`` replaces fields."""
        documents = yaml.safe_load_all((EXAMPLE / "sweep.yaml").read_text())
        made: Object = next(each for each in documents if each["metadata"]["name"] == name)
        where = f"http://receiver.{self.namespace.name}.svc:8088"
        worker: Object = {"maxReplicas": 4, "jobsPerReplica": 5, "cooldown": "5s"}
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

    def plain_schedule(
        self, name: str, secret: str = "support-db", table: str = "conversations", **spec: Any
    ) -> Object:
        """The example's schedule of expired conversations under another name and without an effect."""
        source = {"urlFrom": {"secretKeyRef": {"name": secret, "key": "url"}}, "table": table}
        made = self.example_schedule(EXPIRED, source=source, **spec)
        made["metadata"]["name"] = name
        del made["spec"]["effect"]
        return made


def slow_writes(root: psycopg.Connection[Any], table: str, seconds: float) -> None:
    """Make each update of ``table`` take ``seconds`` longer when it sets the status expired or abandoned."""
    root.execute(SLOW_TRIGGER.format(table=table).encode())
    root.execute("INSERT INTO slow VALUES (%s)", [seconds])


def full_speed(root: psycopg.Connection[Any]) -> None:
    """End ``slow_writes``, also within a statement that runs: its trigger reads what was committed since it began."""
    root.execute("UPDATE slow SET seconds = 0")


def config_map(name: str, files: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files}


def apply_receiver(namespace: Namespace) -> None:
    """The example's receiver, as a Deployment and a Service on port 8088."""
    namespace.apply(config_map("receiver", {"receiver.py": (EXAMPLE / "receiver.py").read_text()}))
    mount = {"workingDir": "/code", "volumeMounts": [{"name": "code", "mountPath": "/code"}]}
    volumes = [{"name": "code", "configMap": {"name": "receiver"}}]
    command = ["python3", "-c", RECEIVER]
    namespace.apply(deployment("receiver", pod_spec(PYTHON, command, container=mount, volumes=volumes)))
    namespace.apply(service("receiver", 8088))


@contextmanager
def conversations_app(cluster: Cluster, what: str, rows: int, **values: str) -> Iterator[ConversationsApp]:
    """The application in a namespace of its own, deleted at the end. ``values`` of the chart are added to a small release's."""
    with temporary_namespace(cluster, what) as namespace, conversations_app_in(namespace, rows, values) as made:
        yield made


@contextmanager
def conversations_app_in(namespace: Namespace, rows: int, values: Mapping[str, str]) -> Iterator[ConversationsApp]:
    """The application in an existing namespace."""
    namespace.cluster.apply((REPOSITORY / "manifests" / "crd.yaml").read_text())
    with ExitStack() as tunnels:
        made = ConversationsApp(namespace, tunnels)
        made.release.install({**NAMESPACED, **values})
        made.deploy(rows)
        made.apply(made.secret(), made.handlers())
        yield made
