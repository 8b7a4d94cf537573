"""Watches the soak from its beginning to its end: memory, restarts, sweeps and logs. What a pod's end would delete is read before.

It polls, because a watch would end with the API server. A poll that fails is repeated, and reads what it missed: the queue remembers eleven sweeps
of each schedule, and a log that was opened can be read after its pod is gone.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from kubesweep.queue.connect import connect
from kubesweep.queue.model import Stats, Sweep
from tests.cluster.testbed import Bed
from tests.kits.deadlines import scaled
from tests.soak.world import App, World, component

POLL = 8.0
POD = re.compile(r"/pod([0-9a-f]{8}-[0-9a-f-]{27})/")
OURS = ("controller", "worker")  # components that the project wrote
UNEXPECTED = re.compile(r"Traceback \(most recent call last\)|please report it")
CONTEXT = 2000  # characters of a log that are kept with a traceback
QUEUE_TIMEOUT = 30.0


@dataclass
class Seen:
    """``memory``: (seconds, bytes of the largest process) by component. ``sweeps``: by lane and id."""

    memory: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    restarts: dict[tuple[str, str], int] = field(default_factory=dict)  # (pod's uid, namespace/component)
    sweeps: dict[int, dict[str, Sweep]] = field(default_factory=lambda: defaultdict(dict))
    stats: dict[int, Stats] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)

    def restarts_of(self, component: str) -> int:
        return sum(count for (_, name), count in self.restarts.items() if name == component)


class Observer(threading.Thread):
    def __init__(self, world: World, bed: Bed) -> None:
        super().__init__(daemon=True)
        self.seen = Seen()
        self._world, self._done, self._began = world, threading.Event(), time.monotonic()
        self._one_at_a_time = threading.Lock()
        names = [each.namespace.name for each in world.apps]
        self._logs = Logs(bed.folder / "log" / "pods", names)

    def run(self) -> None:
        while not self._done.wait(POLL):
            self.poll()

    def end(self) -> None:
        """Poll no more by itself."""
        self._done.set()
        self.join()

    def stop(self) -> None:
        self.end()
        self._logs.close()

    def poll(self) -> None:
        """Read everything now, from any thread."""
        with self._one_at_a_time:
            self.seen.tracebacks += self._logs.read()
            for app in self._world.apps:
                with suppress(Exception):  # the API server may be killed at this moment
                    self._read_pods(app)
                with suppress(Exception):  # so may the queue
                    asyncio.run(self._read_queue(app))

    def _read_pods(self, app: App) -> None:
        components = dict[str, str]()
        for pod in app.namespace.all("v1 Pod"):
            name = f"{app.namespace.name}/{component(pod)}"
            components[pod["metadata"]["uid"]] = name
            count = sum(each["restartCount"] for each in pod["status"].get("containerStatuses") or ())
            self.seen.restarts[pod["metadata"]["uid"], name] = count
        most: dict[str, int] = defaultdict(int)
        for uid, size in resident().items():
            if uid in components:
                most[components[uid]] = max(most[components[uid]], size)
        for name, size in most.items():
            self.seen.memory[name].append((time.monotonic() - self._began, size))

    async def _read_queue(self, app: App) -> None:
        queue = connect(app.queue_url)
        try:
            async with asyncio.timeout(scaled(QUEUE_TIMEOUT)):
                found = await queue.stats(list(app.refs.values()))
        finally:
            await queue.close()
        for lane, stats in zip(app.refs, found, strict=True):
            self.seen.stats[lane] = stats
            self.seen.sweeps[lane] |= {each.id: each for each in stats.sweeps}


def resident() -> dict[str, int]:
    """The resident bytes of the largest process of each pod on this machine, by the pod's uid."""
    found: dict[str, int] = defaultdict(int)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            pod = POD.search((process / "cgroup").read_text())
            if pod:
                pages = int((process / "statm").read_text().split()[1])
                found[pod[1]] = max(found[pod[1]], pages * os.sysconf("SC_PAGE_SIZE"))
    return found


class Logs:
    """Reads the logs of controllers and workers from the node's files, and keeps them open, so that nothing is lost with a pod."""

    def __init__(self, folder: Path, namespaces: Iterable[str]) -> None:
        self._folder, self._namespaces = folder, list(namespaces)
        self._open: dict[Path, TextIO] = {}

    def read(self) -> list[str]:
        """The unexpected errors since the last call, each with the lines around it."""
        for namespace in self._namespaces:
            for name in OURS:
                for path in self._folder.glob(f"{namespace}_*/{name}/*.log"):
                    if path not in self._open:
                        with suppress(OSError):
                            self._open[path] = path.open(encoding="utf-8", errors="replace")
        found = []
        for path, file in list(self._open.items()):
            gone = _replaced(path, file)  # before the last lines are read
            text = file.read()
            for hit in UNEXPECTED.finditer(text):
                found.append(f"{path.parent.parent.name}: {text[max(0, hit.start() - CONTEXT) : hit.end() + CONTEXT]}")
            if gone:
                file.close()
                del self._open[path]
        return found

    def close(self) -> None:
        for file in self._open.values():
            file.close()


def _replaced(path: Path, file: TextIO) -> bool:
    """Whether the path is gone, or another file since the kubelet rotated the log."""
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return True
