"""An object or a key that cannot be processed affects no other: the rest is still listed, reconciled and measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from kubesweep import SpecErrors, load_object
from kubesweep.errors import Outage
from kubesweep.queue.model import ScheduleRef, Stats
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_controller.children.pod_policy import PodPolicy
from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import DEPLOYMENTS, SCHEDULES
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.kube.object_limits import (
    MAX_SPEC_BYTES,
    SHORT,
    estimated_bytes,
    is_truncated,
    limit_depth,
    trim,
)
from kubesweep_controller.kube.watch import Watcher
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.guarded_queue import GuardedQueue
from kubesweep_controller.reconcile.queue_reconciler import QueueReconciler
from kubesweep_controller.reconcile.reconciler import Reconciler
from kubesweep_controller.reconcile.resync import MAX_SLOW_SEARCHES, Resync
from kubesweep_controller.reconcile.spec_cache import parse_spec
from tests.integration.receivers import receiver
from tests.kits.api_discovery import discovery
from tests.kits.controller import SPEC, Clock, ScheduleSimulation
from tests.kits.deadlines import scaled
from tests.unit.controller.test_cache import A, child, schedule

B = ("shop", "b")
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)
FIELDS = ("name", "uid", "labels", "annotations", "ownerReferences", "managedFields", "finalizers", "generation")
METADATA = st.dictionaries(st.sampled_from(FIELDS), PLAIN)
JSON_OBJECTS = st.fixed_dictionaries(
    {}, optional={"metadata": METADATA | PLAIN, "spec": PLAIN, "status": PLAIN, "kind": PLAIN}
)


def nested(levels: int, inside: Any = 1) -> Any:
    for _ in range(levels):
        inside = {"a": inside}
    return inside


def deep(levels: int) -> dict[str, Any]:
    spec = {**SPEC, "worker": {"podTemplate": {"spec": nested(levels)}}}
    return {**schedule("b", uid="u2"), "spec": spec, "status": {}}


@pytest.mark.parametrize("levels", [61, 200, 900, 9_000])
def test_an_object_that_is_nested_deep_is_an_invalid_spec_and_nothing_else(levels: int) -> None:
    cache = Cache()
    for body in (deep(levels), schedule("a")):
        assert cache.update(SCHEDULES, body) is not None
    assert cache.update(SCHEDULES, {**deep(levels), "status": {"x": 1}}) == B
    with pytest.raises(SpecErrors, match=r"spec\.worker\.podTemplate\.spec\.a\.a: nested deeper than 64 levels"):
        load_object(cache.schedules[B])
    assert cache.unreadable == {}


def test_a_deeply_nested_last_applied_annotation_is_not_parsed() -> None:
    text = '{"a":' * 5_000 + "1" + "}" * 5_000
    meta = {"name": "b", "namespace": "shop", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}}
    assert load_object({"metadata": meta, "spec": SPEC}).metadata.name == "b"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_is_not_deep_is_kept_as_it_is(value: Any) -> None:
    assert limit_depth(value, 1000) == value


@pytest.mark.parametrize(
    "change",
    [
        {"managedFields": [{"manager": "kubesweep", "time": "0000-06-01T00:00:00Z"}]},
        {"creationTimestamp": "0000-01-01T00:00:00Z"},
        {"ownerReferences": "x"},
        {"labels": {"kubesweep.dev/schedule": 5}},
        {"name": None},
        {"resourceVersion": None},
    ],
)  # fmt: skip
def test_a_child_of_an_odd_shape_hides_no_other(change: dict[str, Any]) -> None:
    cache = Cache()
    odd = child("Deployment", "b-worker", schedule="b", uid="c2")
    odd["metadata"] |= change
    fine = child("Deployment", "a-worker")
    cache.replace(DEPLOYMENTS, [odd, fine], None, 10)
    assert cache.deployment(A) is not None
    cache.replace(DEPLOYMENTS, [fine], None, 11)
    assert cache.unreadable == {}


def test_what_was_made_while_a_list_was_under_way_stays_and_what_was_deleted_does_not_come_back() -> None:
    cache = Cache()
    cache.update(SCHEDULES, schedule("a", uid="u1", version="5"))
    cache.update(SCHEDULES, schedule("b", uid="u2", version="12"))  # created after the list's version
    cache.update(SCHEDULES, schedule("a", uid="u1", version="13"), deleted=True)
    assert cache.replace(SCHEDULES, [schedule("a", uid="u1", version="5")], None, 10) == set()
    assert cache.schedules.keys() == {B}
    assert cache.replace(SCHEDULES, [], None, 14) == {B}
    cache.update(SCHEDULES, schedule("a", uid="u3", version="15"))
    assert cache.schedules.keys() == {A}


@pytest.mark.parametrize("version", [0, 20])
def test_a_list_that_is_younger_drops_what_it_lacks(version: int) -> None:
    cache = Cache()
    cache.update(SCHEDULES, schedule("a", version="5"))
    assert cache.replace(SCHEDULES, [], None, version) == {A}


def dense(name: str, uid: str, maps: int) -> dict[str, Any]:
    """A few bytes of JSON per map, and many times as much in memory."""
    spec = {**SPEC, "worker": {"podTemplate": {"spec": {f"k{n}": {} for n in range(maps)}}}}
    return {**schedule(name, uid=uid), "spec": spec, "status": {}}


def test_a_spec_that_is_too_large_is_not_kept_and_reported() -> None:
    cache = Cache()
    assert cache.update(SCHEDULES, dense("b", "u2", 50_000)) == B
    kept = cache.schedules[B]
    assert estimated_bytes(kept, MAX_SPEC_BYTES) < 10_000
    spec = parse_spec(kept, ScheduleRef("i", "shop", "b", "u2"), (), PodPolicy())
    assert spec.refusal is not None
    assert (spec.refusal.code, spec.plan) == ("TooLarge", None)
    assert cache.update(SCHEDULES, dense("b", "u2", 10)) == B, "smaller, it is served"
    assert not is_truncated(cache.schedules[B]["spec"])


def test_one_namespace_has_a_share_of_the_memory_and_gets_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubesweep_controller.kube.cache.SHARE", 2**20)
    cache = Cache()
    cache.replace(SCHEDULES, [dense(f"s{n}", f"u{n}", 2000) for n in range(20)], None, 10)
    other = schedule("a", uid="other")
    other["metadata"]["namespace"] = "victim"
    cache.update(SCHEDULES, {**other, "spec": SPEC})
    whole = {key for key, body in cache.schedules.items() if not is_truncated(body["spec"])}
    assert ("victim", "a") in whole
    assert 2 <= len(whole) < 10
    for version in (11, 12):  # the first list removes the others
        cache.replace(SCHEDULES, [dense("s19", "u19", 2000)], None, version)
    assert [is_truncated(body["spec"]) for body in cache.schedules.values()] == [False]
    cache.replace(SCHEDULES, [], None, 13)
    assert not +cache._totals


def test_however_many_schedules_of_the_usual_size_a_namespace_has_they_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kubesweep_controller.kube.cache.SHARE", 2**20)
    cache = Cache()
    cache.replace(SCHEDULES, [{**schedule(f"s{n}", uid=f"u{n}"), "spec": SPEC} for n in range(500)], None, 10)
    assert not any(is_truncated(body["spec"]) for body in cache.schedules.values())


@given(JSON_OBJECTS)
def test_what_is_kept_of_an_object_is_the_same_when_it_is_taken_again(body: Any) -> None:
    once = trim(body)
    assert trim(once) == once


def test_notes_of_others_on_an_object_are_not_kept() -> None:
    cache = Cache()
    body = {**schedule("b", uid="u2"), "spec": SPEC}
    body["metadata"] |= {
        "annotations": {"other": "x" * 200_000, "kubesweep.dev/trigger": "1"},
        "finalizers": ["x/y"] * 10_000,
        "labels": {"team": "a"},
    }
    cache.update(SCHEDULES, body)
    assert cache.schedules[B]["metadata"]["annotations"] == {"kubesweep.dev/trigger": "1"}
    assert cache.schedules[B]["metadata"]["labels"] == {"team": "a"}
    assert estimated_bytes(cache.schedules[B], MAX_SPEC_BYTES) < 20_000


async def serve_api(request: web.Request) -> web.StreamResponse:
    """Each SweepSchedule is too large."""
    if (answer := discovery(request.path)) is not None:
        return answer
    if request.query.get("watch"):
        stream = web.StreamResponse()
        await stream.prepare(request)
        if request.path.endswith("/sweepschedules"):
            event = {"type": "ADDED", "object": {**dense("late", "u3", 50_000), "kind": "SweepSchedule"}}
            await stream.write(json.dumps(event).encode() + b"\n")
        await asyncio.sleep(60)
        return stream
    items = [dense("b", "u2", 50_000)] if request.path.endswith("/sweepschedules") else []
    return web.json_response({"metadata": {"resourceVersion": "9"}, "items": items})


async def test_lists_and_events_reach_the_cache_trimmed() -> None:
    """Through kopf, whose functions that read lists and events are replaced."""
    found: dict[str, Any] = {}
    both = asyncio.Event()

    def update(kind: Any, body: Any, deleted: bool) -> None:
        found[body["metadata"]["name"]] = estimated_bytes(body, MAX_SPEC_BYTES)
        if found.keys() == {"b", "late"}:
            both.set()

    async def served() -> None:
        return None

    async with receiver(serve_api) as url:
        watcher = Watcher(Kubeconfig(url), lambda: (), update)
        running = asyncio.create_task(watcher.run(served, lambda: None))
        try:
            async with asyncio.timeout(scaled(30)):
                await both.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert max(found.values()) < 10_000


async def test_a_search_that_times_out_is_no_outage_and_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with tens of millions of other keys."""
    monkeypatch.setattr("kubesweep_controller.reconcile.resync.KEDA_POLL", 0.0)
    searches = 0

    class Slow(SqliteQueue):
        async def schedules(self) -> Any:
            nonlocal searches
            searches += 1
            raise Outage("QueueTimeout", "did not answer in time")

    queue = GuardedQueue(Slow(":memory:"), "install0", lambda: None)
    reconciler = Reconciler(ANY, Cache(), ANY, QueueReconciler("install0", queue), ANY, ANY, ANY, ANY)
    resync = Resync(ANY, (), reconciler.cache, ANY, ANY, reconciler, lambda: None)
    resync._once.set()
    async with asyncio.timeout(scaled(10)):
        await resync.collect_garbage()
    assert (searches, queue.outage_seconds) == (MAX_SLOW_SEARCHES, 0)


NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.none())


@given(numbers=st.lists(NUMBERS, min_size=3, max_size=3))
async def test_numbers_of_one_schedule_never_end_the_metrics_of_all(
    numbers: list[Any], make_sim: Callable[[], ScheduleSimulation]
) -> None:
    metrics, sim = Metrics(), make_sim()
    observation = await sim.observation()
    good = {**sim.body, "metadata": {**sim.body["metadata"], "name": "good"}}
    ready, tick, planned = numbers
    status = {"lastSweep": {"state": "Running", "planned": planned}, "lastSuccessfulTime": tick}
    odd = observation.__class__(**{**observation.__dict__, "stats": Stats(known=True, ready=ready, last_tick=tick)})
    metrics.observe(odd, status)
    metrics.observe(
        observation.__class__(**{**observation.__dict__, "body": good, "stats": Stats(known=True, ready=3)}), {}
    )
    assert 'kubesweep_queue_jobs{namespace="support",schedule="good",state="ready"} 3' in metrics.text().decode()


@pytest.fixture(scope="module")
def make_sim(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], ScheduleSimulation]:
    queue = SqliteQueue(str(tmp_path_factory.mktemp("queue") / "q.db"))
    return lambda: ScheduleSimulation(queue, Clock())


def test_objects_share_their_names_and_short_texts() -> None:
    text = json.dumps({"spec": {"table": "carts", "long": "x" * (SHORT + 1)}})
    one, other = (trim(json.loads(text))["spec"] for _ in range(2))
    assert one == other == json.loads(text)["spec"]
    assert [name is its for name, its in zip(one, other, strict=True)] == [True, True]
    assert [one[name] is other[name] for name in ("table", "long")] == [True, False]


def test_plain_objects_are_json(tmp_path: Any) -> None:
    assert json.loads(json.dumps(limit_depth(deep(900)))) == limit_depth(deep(900))
