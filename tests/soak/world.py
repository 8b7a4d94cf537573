"""What the soak runs: two releases with a queue each, two databases, a receiver of webhooks, and a schedule for each lane.

The first release has two controllers and the chart's Redis with a volume, so its queue keeps everything through every fault, and its totals must be
exact. The second has one controller and a Redis of its own with that server's defaults: it restarts with its last snapshot, or with nothing.
"""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property

from kubesweep.queue.model import ScheduleRef
from tests.cluster.testbed import REPOSITORY
from tests.kits.conversations_app import apply_receiver
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.releases import NAMESPACED, SCHEDULE, temporary_namespace
from tests.kits.schedules import ScheduleClient
from tests.kits.workloads import start_postgres, start_redis
from tests.soak import clocks
from tests.soak.databases import Database, Rows
from tests.soak.lanes import Lane

READY = 600  # seconds until all schedules are Ready
WORKERS = "app.kubernetes.io/component=worker"
CONTROLLERS = "app.kubernetes.io/component=controller"


class App(ScheduleClient):
    """One release with its schedules. ``queue_pod`` is the pod of its Redis."""

    def __init__(self, namespace: Namespace, lanes: list[Lane]) -> None:
        super().__init__(namespace)
        self.lanes = lanes
        self._password = ""

    @property
    def keeps_queue(self) -> bool:
        return not self._password

    def install_first(self) -> None:
        values = {"controller.replicas": "2", "redis.persistence.enabled": "true"}
        self._install(values)

    def install_second(self) -> None:
        self._password = secrets.token_hex(8)
        server = start_redis(self.namespace, password=self._password, adapt=clocks.with_clock)
        data = {"password": self._password}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "queue"}, "stringData": data})
        values = {"redis.enabled": "false", "externalRedis.url": f"redis://default@{server.host}:{server.port}/0"}
        values |= {"externalRedis.existingSecret.name": "queue", "externalRedis.usersPerNamespace": "true"}
        self._install(values)

    def _install(self, values: dict[str, str]) -> None:
        self.release.install({**NAMESPACED, **clocks.chart_values(), "keda.pollingInterval": "5", **values})

    @cached_property
    def queue_url(self) -> str:
        """The queue's URL from the node, which routes the addresses of Services."""
        name = "redis" if self._password else f"{self.release.fullname}-redis"
        found = self.namespace.get("v1 Service", name)
        assert found is not None
        return f"redis://:{self.queue_password}@{found['spec']['clusterIP']}:6379/0"

    @cached_property
    def queue_password(self) -> str:
        return self._password or self.release.password()

    @cached_property
    def refs(self) -> dict[int, ScheduleRef]:
        """The schedule of each lane in the queue."""
        return {lane.number: self.schedule_ref(lane.name) for lane in self.lanes}

    def queue_pod(self) -> Object:
        return self.pods("app=redis" if self._password else "app.kubernetes.io/component=redis")[0]

    def pods(self, selector: str) -> list[Object]:
        """The pods that are not terminating."""
        found = self.namespace.all("v1 Pod", selector)
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def leader(self) -> str:
        """The controller pod that holds the Lease; empty where that pod is terminating or gone."""
        lease = self.namespace.get("coordination.k8s.io/v1 Lease", self.release.fullname)
        holder = ((lease or {}).get("spec") or {}).get("holderIdentity") or ""
        names = [each["metadata"]["name"] for each in self.pods(CONTROLLERS)]
        return next((name for name in names if holder.startswith(name)), "")

    def problems(self) -> list[str]:
        """Schedules that are not Ready or fall behind."""
        found = []
        for each in self.namespace.all(SCHEDULE):
            conditions = {one["type"]: one for one in (each.get("status") or {}).get("conditions") or ()}
            for type_, bad in (("Ready", ("False", "Unknown")), ("KeepingUp", ("False",))):
                one = conditions.get(type_, {"status": "Unknown", "reason": "none"})
                if one["status"] in bad:
                    found.append(f"{each['metadata']['name']}: {type_}={one['status']} {one['reason']}")
        return found


class World:
    def __init__(self, apps: list[App], databases: list[Database], receiver: str) -> None:
        self.apps, self.databases, self._receiver = apps, databases, receiver

    def rows(self) -> dict[int, Rows]:
        """The rows of every lane, by its number."""
        return {lane: rows for each in self.databases for lane, rows in each.rows().items()}

    def received(self) -> dict[str, int]:
        """The receiver's counters: requests, keys, duplicates."""
        with urllib.request.urlopen(f"{self._receiver}/", timeout=10) as answer:
            found: dict[str, int] = json.load(answer)
        return found


@contextmanager
def soak_world(cluster: Cluster, schedules: int) -> Iterator[World]:
    """Everything, with all schedules Ready; deleted at the end."""
    cluster.apply((REPOSITORY / "manifests" / "crd.yaml").read_text())
    lanes = [Lane(number, schedules) for number in range(schedules)]
    with ExitStack() as stack:
        spaces = [stack.enter_context(temporary_namespace(cluster, f"soak-{name}")) for name in ("a", "b")]
        apps = [App(each, [lane for lane in lanes if lane.release == number]) for number, each in enumerate(spaces)]
        for each in spaces:
            each.apply(clocks.config_map())
        apps[0].install_first()
        apps[1].install_second()
        databases = [_database(each, number, lanes) for number, each in enumerate(spaces)]
        for number, database in enumerate(databases):
            url = {"name": f"database-{number}"}
            for app in apps:
                app.apply({"apiVersion": "v1", "kind": "Secret", "metadata": url, "stringData": {"url": database.url}})
        world = World(apps, databases, _start_receiver(spaces[0]))
        for app in apps:
            app.apply(*(lane.schedule(f"http://receiver.{spaces[0].name}.svc:8088/") for lane in app.lanes))
        for app in apps:
            for lane in app.lanes:
                app.until_condition(lane.name, "Ready", "True", patience=READY)
        yield world


def component(pod: Object) -> str:
    """What a pod is: controller, worker, redis, postgres or receiver."""
    labels = pod["metadata"]["labels"]
    return str(labels.get("app.kubernetes.io/component") or labels.get("app"))


def _database(namespace: Namespace, number: int, lanes: list[Lane]) -> Database:
    server = start_postgres(namespace, adapt=clocks.with_clock)
    made = Database(namespace, server, [each for each in lanes if each.database == number])
    made.create()
    return made


def _start_receiver(namespace: Namespace) -> str:
    """Start the example's receiver. Returns its URL from the node."""
    apply_receiver(namespace)
    namespace.rolled_out("receiver")
    found = namespace.get("v1 Service", "receiver")
    assert found is not None
    return f"http://{found['spec']['clusterIP']}:8088"
