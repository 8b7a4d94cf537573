"""The controller's cache of cluster state: whatever the sequence of events and lists, it ends up equal to the API server.

A case is a list of steps. The model is a small API server: a dictionary of objects, one counter of versions, a watch whose events are
delivered in their sequence, and lists that are read in pages while the watch goes on. Either stream may be late.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from kubesweep_controller.children.names import SCHEDULE_LABEL
from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import DEPLOYMENTS, SCHEDULES, Kind
from tests.fuzz.damage import damaged_tree
from tests.fuzz.target import Target

__all__ = ["TARGET"]

Key = tuple[str, str]
KEYS: tuple[Key, ...] = (("shop", "a"), ("shop", "b"), ("other", "a"))
PAGE = 2
KINDS = (SCHEDULES, DEPLOYMENTS)


def schedule(key: Key, uid: str, version: int) -> dict[str, Any]:
    meta = {"namespace": key[0], "name": key[1], "uid": uid, "resourceVersion": str(version), "managedFields": [{}]}
    return {"metadata": meta, "spec": {"table": "x" * 20, "number": version}}


def deployment(key: Key, uid: str, version: int) -> dict[str, Any]:
    meta = {
        "namespace": key[0],
        "name": f"{key[1]}-worker",
        "uid": uid,
        "resourceVersion": str(version),
        "generation": version,
        "labels": {SCHEDULE_LABEL: key[1]},
    }
    return {"kind": "Deployment", "metadata": meta, "spec": {"replicas": version}}


JUNK = [schedule(("junk", "j"), "j", 1), deployment(("junk", "j"), "j", 1)]
STEP = st.one_of(
    st.tuples(st.sampled_from(("write", "write", "delete")), st.integers(0, 2)),
    st.tuples(st.just("watch"), st.integers(1, 3)),
    st.tuples(st.sampled_from(("again", "break", "list", "page", "page")), st.just(0)),
).map(list)  # fmt: skip
CASES = st.fixed_dictionaries({"kind": st.integers(0, 1), "steps": st.lists(STEP, max_size=25)}, optional={"junk": damaged_tree(JUNK, ("uid", "name"))})  # fmt: skip


class Server:
    """The API server, and what of it has reached the cache."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.make = schedule if kind is SCHEDULES else deployment
        self.cache = Cache()
        self.objects: dict[Key, tuple[str, int]] = {}
        self.version = 0
        self.pending: list[tuple[Key, str, int, bool]] = []
        self.last: tuple[Key, str, int, bool] | None = None
        self.snapshot: list[tuple[Key, tuple[str, int]]] | None = None
        self.at = 0
        self.listed: set[str] = set()
        self.gone: set[str] = set()  # uids whose deletion was delivered
        self.seen: dict[str, int] = {}

    def write(self, key: Key) -> None:
        self.version += 1
        uid = self.objects[key][0] if key in self.objects else f"u{self.version}"
        self.objects[key] = uid, self.version
        self.pending.append((key, uid, self.version, False))

    def delete(self, key: Key) -> None:
        if key in self.objects:
            self.version += 1
            uid, _ = self.objects.pop(key)
            self.pending.append((key, uid, self.version, True))

    def deliver(self, event: tuple[Key, str, int, bool]) -> None:
        key, uid, version, deleted = event
        self.cache.update(self.kind, self.make(key, uid, version), deleted=deleted)
        self.gone |= {uid} if deleted else set()

    def watch(self, most: int) -> None:
        for _ in range(min(most, len(self.pending))):
            self.last = self.pending.pop(0)
            self.deliver(self.last)

    def start_list(self) -> None:
        if self.snapshot is None:
            self.snapshot, self.at, self.listed = list(self.objects.items()), self.version, set()

    def page(self) -> None:
        if self.snapshot is None:
            return
        part, self.snapshot = self.snapshot[:PAGE], self.snapshot[PAGE:]
        _, uids = self.cache.page(self.kind, [self.make(key, uid, version) for key, (uid, version) in part])
        self.listed |= uids
        if not self.snapshot:
            self.cache.listed(self.kind, self.listed, None, self.at)
            self.snapshot = None

    def shown(self) -> dict[Key, tuple[str, int]]:
        if self.kind is SCHEDULES:
            items = self.cache.schedules.items()
            return {key: (body["metadata"]["uid"], body["spec"]["number"]) for key, body in items if key in KEYS}
        children = {key: each for (_, key), each in self.cache.children.items() if key in KEYS}
        return {key: (each.revision.uid, each.desired or 0) for key, each in children.items()}

    def check(self) -> None:
        for uid, version in self.shown().values():
            assert uid not in self.gone, f"{uid} is shown after the event of its deletion"
            assert version >= self.seen.get(uid, 0), f"{uid} went back to version {version}"
            self.seen[uid] = version


def check(case: dict[str, Any]) -> None:
    server = Server(KINDS[case["kind"]])
    for step, number in case["steps"]:
        if step in ("write", "delete"):
            getattr(server, step)(KEYS[number])
        elif step == "watch":
            server.watch(number)
        elif step == "again" and server.last is not None:
            server.deliver(server.last)
        elif step == "break":  # the events until now never arrive: a full list begins
            server.pending.clear()
            server.snapshot = None
            server.start_list()
        elif step == "list":
            server.start_list()
        elif step == "page":
            server.page()
        if "junk" in case:
            server.cache.update(server.kind, copy.deepcopy(case["junk"]))
        server.check()
    server.watch(len(server.pending))
    while server.snapshot is not None:
        server.page()
    server.start_list()
    while server.snapshot is not None:
        server.page()
    server.check()
    assert server.shown() == server.objects, "after a full list the cache differs from the API server"
    _check_memory(server)


def _check_memory(server: Server) -> None:
    """Nothing is kept of objects that are gone."""
    cache, live = server.cache, {uid for uid, _ in server.objects.values()}
    kept = {uid for (_, uid) in cache._versions if str(uid).startswith("u")}
    assert kept <= live, f"versions of {kept - live} are kept"
    assert not {uid for (_, uid) in cache._deleted if str(uid).startswith("u")}, "deletions are kept after a later list"
    assert {key for key in cache._weights if key in KEYS} == {key for key in cache.schedules if key in KEYS}
    for namespace in {key[0] for key in KEYS}:
        assert cache._totals[namespace] == sum(weight for key, weight in cache._weights.items() if key[0] == namespace)


TARGET = Target("cache", CASES, check)
