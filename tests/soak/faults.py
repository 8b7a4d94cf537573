"""The faults of the soak. Each is chosen at random from a seed, and all kinds happen before one happens again.

Outages last ``OUTAGE`` seconds: longer than a controller may lead without the API server, and than connections wait.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.cluster.lifecycle import processes
from tests.cluster.testbed import API_ADDRESS, Bed
from tests.kits.kube_client import Namespace, Object
from tests.kits.polling import eventually
from tests.soak import clocks
from tests.soak.world import CONTROLLERS, WORKERS, World, component

KINDS = ("worker", "controller", "redis", "database", "api-server", "network", "clock")
OUTAGE = 15.0
SHIFTS = (-120, -45, 45, 120)  # seconds of a clock; a lease in the queue lasts 30
PATIENCE = 120.0


@dataclass
class Faults:
    """Injects faults. ``bed``: the test bed, if nobody else uses it; then the API server is killed too, instead of only cut off.

    ``restarts`` counts the containers that were made to restart, by ``namespace/component``.
    """

    world: World
    chance: random.Random
    bed: Bed | None
    restarts: dict[str, int] = field(default_factory=dict)
    api_faults: int = 0

    def kinds(self) -> Iterator[str]:
        """All kinds in random order, again and again."""
        while True:
            yield from self.chance.sample(KINDS, len(KINDS))

    def inject(self, kind: str) -> str:
        """Cause a fault, and end it if it is an outage. Returns what was hit."""
        work: dict[str, Callable[[], str]] = {
            "worker": self._worker,
            "controller": self._controller,
            "redis": self._redis,
            "database": self._database,
            "api-server": self._api_server,
            "network": self._network,
            "clock": self._clock,
        }
        return work[kind]()

    def _worker(self) -> str:
        """Kill half of a release's workers, without grace."""
        app = self.chance.choice(self.world.apps)
        names = sorted(each["metadata"]["name"] for each in app.pods(WORKERS))
        victims = self.chance.sample(names, (len(names) + 1) // 2)
        _kill(app.namespace, *victims)
        return f"{len(victims)} of {len(names)} workers of {app.namespace.name}"

    def _controller(self) -> str:
        """Kill the first release's leader. The second's controller lives on, so that its memory has the whole time to grow."""
        app = self.world.apps[0]
        victim = eventually("there is a leader", PATIENCE, app.leader)
        _kill(app.namespace, victim)
        return victim

    def _redis(self) -> str:
        app = self.chance.choice(self.world.apps)
        pod = app.queue_pod()
        if app.keeps_queue and self.chance.random() < 0.5:
            app.namespace.kubectl("delete", "pod", pod["metadata"]["name"])
            return f"{app.namespace.name}: pod deleted"
        with suppress(AssertionError):  # the command is killed with its container
            script = 'REDISCLI_AUTH="$1" redis-cli shutdown nosave; true'
            app.namespace.exec(pod["metadata"]["name"], "sh", "-c", script, "sh", app.queue_password)
        self._until_restarted(app.namespace, pod)
        return f"{app.namespace.name}: process killed" + (
            "" if app.keeps_queue else ", an old snapshot or nothing is left"
        )

    def _database(self) -> str:
        database = self.chance.choice(self.world.databases)
        pod = database.pod()
        with suppress(AssertionError):
            stop = ("pg_ctl", "stop", "-D", "/data/pg", "-m", "immediate", "--no-wait")
            database.namespace.exec(pod["metadata"]["name"], *stop)
        self._until_restarted(database.namespace, pod)
        return database.namespace.name

    def _api_server(self) -> str:
        self.api_faults += 1
        if self.bed is not None and self.chance.random() < 0.5:
            os.kill(next(pid for pid, line in processes(self.bed) if "/bin/kube-apiserver " in line), 9)
            return "process killed"
        app = self.world.apps[0]
        addresses = [_address(each) for each in app.pods(CONTROLLERS)]
        with cut(*(f"-s {API_ADDRESS} -p tcp --sport 6443 -d {each}" for each in addresses)):
            time.sleep(OUTAGE)
        return f"cut off from the controllers of {app.namespace.name}"

    def _network(self) -> str:
        """Drop all packets from and to a queue or a database."""
        pods = {f"the queue of {each.namespace.name}": each.queue_pod() for each in self.world.apps}
        for each in self.world.databases:
            pods[f"the database of {each.namespace.name}"] = each.pod()
        name = self.chance.choice(sorted(pods))
        address = _address(pods[name])
        with cut(f"-s {address}", f"-d {address}"):
            time.sleep(OUTAGE)
        return name

    def _clock(self) -> str:
        """Shift the clock of a pod, and correct it again. The first release's Redis is the chart's, whose clock cannot be shifted."""
        app, database = self.chance.choice(self.world.apps), self.chance.choice(self.world.databases)
        kinds: dict[str, tuple[Namespace, Callable[[], list[Object]], str]] = {
            "queue": (self.world.apps[1].namespace, lambda: [self.world.apps[1].queue_pod()], "/data/clock"),
            "database": (database.namespace, lambda: [database.pod()], "/data/clock"),
            "controller": (app.namespace, lambda: app.pods(CONTROLLERS), "/tmp/clock"),
            "worker": (app.namespace, lambda: app.pods(WORKERS), "/tmp/clock"),
        }
        kind = self.chance.choice(list(kinds))
        namespace, ask, file = kinds[kind]
        ready = eventually(f"a {kind} is ready", PATIENCE, lambda: [each for each in ask() if _ready(each)])
        pod = self.chance.choice(sorted(each["metadata"]["name"] for each in ready))
        seconds = self.chance.choice(SHIFTS)
        with suppress(AssertionError):  # KEDA may end a worker meanwhile
            clocks.shift(namespace, pod, file, seconds)
            time.sleep(OUTAGE)
            clocks.shift(namespace, pod, file, 0)
        return f"{seconds:+d} s for the {kind} {pod}"

    def _until_restarted(self, namespace: Namespace, pod: Object) -> None:
        (before,) = pod["status"]["containerStatuses"]
        key = f"{namespace.name}/{component(pod)}"
        self.restarts[key] = self.restarts.get(key, 0) + 1

        def restarted(found: Object) -> bool:
            return any(
                each["restartCount"] > before["restartCount"] and each["ready"]
                for each in found["status"].get("containerStatuses") or ()
            )

        namespace.until("v1 Pod", pod["metadata"]["name"], restarted, what="the container was restarted", patience=400)


@contextmanager
def cut(*rules: str) -> Iterator[None]:
    """While inside, the node drops packets that match one of the rules."""
    added = list[str]()
    try:
        for each in rules:
            _iptables("-I", each)
            added.append(each)
        yield
    finally:
        for each in added:
            _iptables("-D", each)


def _iptables(verb: str, rule: str) -> None:
    """In mangle/POSTROUTING, the addresses of Services are already translated to pods."""
    words = ["iptables", "--wait", "--table", "mangle", verb, "POSTROUTING", *rule.split(), "-j", "DROP"]
    subprocess.run(words, check=True, capture_output=True)


def _kill(namespace: Namespace, *pods: str) -> None:
    namespace.kubectl("delete", "pod", *pods, "--grace-period=0", "--force", "--wait=false", "--ignore-not-found")


def _address(pod: Object) -> str:
    return str(pod["status"]["podIP"])


def _ready(pod: Object) -> bool:
    return any((each["type"], each["status"]) == ("Ready", "True") for each in pod["status"].get("conditions") or ())
