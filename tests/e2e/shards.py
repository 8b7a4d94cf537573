"""Which tests run side by side in the cluster, and which alone.

The files in ``ALONE`` change state that all tests use: they install a release for every namespace, replace the CRD, remove KEDA or drain the node. They
run first, one after the other: they wait most of the time, so in CI they run in parallel with the stages that need no cluster.

Then three processes share the cluster, because the tests wait more than they compute. Each runs one shard of the files, in the order given here. A file
that is not listed runs at the end of the last shard. ``LAST`` reads the whole audit log.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.cluster.testbed import REPOSITORY

FOLDER = REPOSITORY / ".e2e"
# Each takes about the same time. test_controller_scale.py occupies KEDA for minutes, so the other shards begin with tests that need no KEDA.
SHARDS = (
    (
        "test_controller_scale.py",
        "test_conversations.py",
        "test_soak.py",
        "test_queue_modes.py",
        "test_scaling.py",
        "test_edits_during_sweep.py",
        "test_throttle.py",
        "test_hostile.py",
    ),
    (
        "test_status_across_restarts.py",
        "test_tenant.py",
        "test_platform.py",
        "test_images.py",
        "test_custom_image.py",
        "test_refused_specs.py",
        "test_crd.py",
        "test_crd_agrees.py",
        "test_recovery.py",
        "test_chart_credentials.py",
        "test_chart_rbac.py",
        "test_console.py",
        "test_kubectl_sweep_more.py",
    ),
    (
        "test_controller_lifecycle.py",
        "test_controller.py",
        "test_admission.py",
        "test_versions.py",
        "test_releases.py",
        "test_older_crd.py",
        "test_invalid_specs.py",
        "test_events.py",
        "test_pod_policy.py",
        "test_security_page.py",
        "test_chart.py",
        "test_pods.py",
        "test_seeing.py",
        "test_kubectl_sweep.py",
    ),
)
ALONE = (
    "test_chart_cluster.py",
    "test_documents.py",
    "test_drain.py",
    "test_two_nodes.py",
    "test_strict_cluster.py",
    "test_pruning_crd.py",
)
LAST = ("test_rbac.py",)
GROUPS = {"alone": ALONE, **{f"shard {number}": files for number, files in enumerate(SHARDS, 1)}, "last": LAST}
PLACES = {name: (group, place) for group, names in GROUPS.items() for place, name in enumerate(names)}


def group_of(nodeid: str) -> str:
    return _place(Path(nodeid.partition("::")[0]))[0]


def arrange(items: list[pytest.Item]) -> None:
    groups = list(GROUPS)

    def place(item: pytest.Item) -> tuple[int, int]:
        group, place = _place(item.path)
        return groups.index(group), place

    items.sort(key=place)


def _place(path: Path) -> tuple[str, int]:
    return PLACES.get(path.name, (f"shard {len(SHARDS)}", len(PLACES)))


class ClusterLock:
    """A lock on the cluster. Processes that run shards share it; the tests of ``ALONE`` and ``LAST`` have it to themselves."""

    def __init__(self) -> None:
        FOLDER.mkdir(exist_ok=True)
        self._file = (FOLDER / "cluster.lock").open("w")

    def share(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def take(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def free(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A scheduler of pytest-xdist: each process gets a whole group, in the order of the tests.

    The main process holds the lock for the group ``alone``, so that no shard can begin before it.
    """

    def __init__(self, config: pytest.Config, log: Any, lock: ClusterLock) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._lock = lock
        self._alone: set[str] = set()  # tests that have not ended

    def schedule(self) -> None:
        if self.collection is None:
            collected = next(iter(self.registered_collections.values()))
            self._alone = {nodeid for nodeid in collected if group_of(nodeid) == "alone"}
            if self._alone:
                self._lock.take()
        super().schedule()

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        nodeid = self.registered_collections[node][item_index]
        if nodeid in self._alone:
            self._alone.remove(nodeid)
            if not self._alone:
                self._lock.free()

    def remove_node(self, node: Any) -> str | None:
        """Remove a process. If it died, its tests are queued behind those of another one, which must not wait for them: the run has failed anyway."""
        crashed: str | None = super().remove_node(node)
        if crashed:
            self._lock.free()
        return crashed

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """A lock for work that the first process does for all."""
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
