"""What one object, or one key of the queue, can make fail is its own trouble: the others are listed, looked at and measured as ever."""

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
from kubesweep_controller.kube.cache import WATCHED, Store
from kubesweep_controller.kube.client import DEPLOYMENTS, NAMESPACES, SCHEDULES, Api, ApiOutage, Kind, Refused
from kubesweep_controller.kube.kubeconfig import Connection
from kubesweep_controller.kube.object_limits import HEAVIEST, is_cut, lean, shallow, weight
from kubesweep_controller.kube.watch import Watcher
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.circuit_breaker import Gate
from kubesweep_controller.reconcile.reconciler import Reconciler, _parse
from kubesweep_controller.reconcile.resync import SEARCHES, Resync
from tests.integration.receivers import receiver
from tests.kits.controller import SPEC, Clock, House
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
    store = Store()
    for body in (deep(levels), schedule("a")):
        assert store.saw(SCHEDULES, body) is not None
    assert store.saw(SCHEDULES, {**deep(levels), "status": {"x": 1}}) == B
    with pytest.raises(SpecErrors, match=r"spec\.worker\.podTemplate\.spec\.a\.a: nested deeper than 64 levels"):
        load_object(store.schedules[B])
    assert store.unread == {}


def test_a_deep_copy_of_what_was_applied_is_not_looked_into() -> None:
    text = '{"a":' * 5_000 + "1" + "}" * 5_000
    meta = {"name": "b", "namespace": "shop", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}}
    assert load_object({"metadata": meta, "spec": SPEC}).metadata.name == "b"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_is_not_deep_is_kept_as_it_is(value: Any) -> None:
    assert shallow(value, 1000) == value


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
    store = Store()
    odd = child("Deployment", "b-worker", schedule="b", uid="c2")
    odd["metadata"] |= change
    fine = child("Deployment", "a-worker")
    store.replace(DEPLOYMENTS, [odd, fine], None, 10)
    assert store.deployment(A) is not None
    store.replace(DEPLOYMENTS, [fine], None, 11)
    assert store.unread == {}


def test_what_was_made_while_a_list_was_under_way_stays_and_what_was_deleted_does_not_come_back() -> None:
    store = Store()
    store.saw(SCHEDULES, schedule("a", uid="u1", version="5"))
    store.saw(SCHEDULES, schedule("b", uid="u2", version="12"))  # made behind the list's version
    store.saw(SCHEDULES, schedule("a", uid="u1", version="13"), deleted=True)
    assert store.replace(SCHEDULES, [schedule("a", uid="u1", version="5")], None, 10) == set()
    assert store.schedules.keys() == {B}
    assert store.replace(SCHEDULES, [], None, 14) == {B}
    store.saw(SCHEDULES, schedule("a", uid="u3", version="15"))
    assert store.schedules.keys() == {A}


@pytest.mark.parametrize("version", [0, 20])
def test_a_list_that_is_younger_drops_what_it_lacks(version: int) -> None:
    store = Store()
    store.saw(SCHEDULES, schedule("a", version="5"))
    assert store.replace(SCHEDULES, [], None, version) == {A}


async def test_objects_that_are_large_are_read_in_smaller_pages() -> None:
    """Twenty of more than a megabyte: never more than some of them in memory at once."""
    bodies = [{"metadata": {"name": f"s{n}", "resourceVersion": "7"}, "spec": "x" * 1_200_000} for n in range(20)]
    sizes: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        start, limit = int(request.query.get("continue") or 0), int(request.query["limit"])
        items = bodies[start : start + limit]
        sizes.append(len(items))
        after = {"continue": str(start + limit)} if start + limit < len(bodies) else {}
        return web.json_response({"metadata": {"resourceVersion": "9", **after}, "items": items})

    async with receiver(answer) as url:
        api = Api(Connection(url))
        found = await api.list(SCHEDULES, None)
        await api.close()
    assert [each["metadata"]["name"] for each in found] == [f"s{n}" for n in range(20)]
    assert found.version == 9
    assert sizes.count(1) >= 19


def dense(name: str, uid: str, maps: int) -> dict[str, Any]:
    """A few bytes of JSON a map, and many times as much in memory."""
    spec = {**SPEC, "worker": {"podTemplate": {"spec": {f"k{n}": {} for n in range(maps)}}}}
    return {**schedule(name, uid=uid), "spec": spec, "status": {}}


def test_of_a_spec_that_is_too_heavy_nothing_is_kept_and_that_is_told() -> None:
    store = Store()
    assert store.saw(SCHEDULES, dense("b", "u2", 50_000)) == B
    kept = store.schedules[B]
    assert weight(kept, HEAVIEST) < 10_000
    spec = _parse(kept, ScheduleRef("i", "shop", "b", "u2"), (), PodPolicy())
    assert spec.refusal is not None
    assert (spec.refusal.code, spec.plan) == ("TooLarge", None)
    assert store.saw(SCHEDULES, dense("b", "u2", 10)) == B, "smaller, it is served"
    assert not is_cut(store.schedules[B]["spec"])


def test_one_namespace_has_a_share_of_the_memory_and_gets_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubesweep_controller.kube.cache.SHARE", 2**20)
    store = Store()
    store.replace(SCHEDULES, [dense(f"s{n}", f"u{n}", 2000) for n in range(20)], None, 10)
    other = schedule("a", uid="other")
    other["metadata"]["namespace"] = "victim"
    store.saw(SCHEDULES, {**other, "spec": SPEC})
    whole = {key for key, body in store.schedules.items() if not is_cut(body["spec"])}
    assert ("victim", "a") in whole
    assert 2 <= len(whole) < 10
    for version in (11, 12):  # the first list takes the others away
        store.replace(SCHEDULES, [dense("s19", "u19", 2000)], None, version)
    assert [is_cut(body["spec"]) for body in store.schedules.values()] == [False]
    store.replace(SCHEDULES, [], None, 13)
    assert not +store._totals


def test_however_many_schedules_of_the_usual_size_a_namespace_has_they_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kubesweep_controller.kube.cache.SHARE", 2**20)
    store = Store()
    store.replace(SCHEDULES, [{**schedule(f"s{n}", uid=f"u{n}"), "spec": SPEC} for n in range(500)], None, 10)
    assert not any(is_cut(body["spec"]) for body in store.schedules.values())


@given(JSON_OBJECTS)
def test_what_is_kept_of_an_object_is_the_same_when_it_is_taken_again(body: Any) -> None:
    once = lean(body)
    assert lean(once) == once


def test_notes_of_others_on_an_object_are_not_kept() -> None:
    store = Store()
    body = {**schedule("b", uid="u2"), "spec": SPEC}
    body["metadata"] |= {
        "annotations": {"other": "x" * 200_000, "kubesweep.dev/trigger": "1"},
        "finalizers": ["x/y"] * 10_000,
        "labels": {"team": "a"},
    }
    store.saw(SCHEDULES, body)
    assert store.schedules[B]["metadata"]["annotations"] == {"kubesweep.dev/trigger": "1"}
    assert store.schedules[B]["metadata"]["labels"] == {"team": "a"}
    assert weight(store.schedules[B], HEAVIEST) < 20_000


def kind_of(kind: Kind) -> dict[str, Any]:
    return {"name": kind.plural, "singularName": "", "namespaced": True, "kind": kind.kind, "verbs": ["list", "watch"]}


async def test_lists_and_events_reach_the_store_without_what_is_too_heavy() -> None:
    """Through kopf, whose own reading of lists and events is replaced."""
    found: dict[str, Any] = {}
    both = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        path = request.path
        if request.query.get("watch"):
            stream = web.StreamResponse()
            await stream.prepare(request)
            if path.endswith("/sweepschedules"):
                event = {"type": "ADDED", "object": {**dense("late", "u3", 50_000), "kind": "SweepSchedule"}}
                await stream.write(json.dumps(event).encode() + b"\n")
            await asyncio.sleep(60)
            return stream
        group = next((kind for kind in WATCHED if path == f"/apis/{kind.group_version}"), None)
        if group is not None:
            kind = kind_of(group)
            return web.json_response(
                {"kind": "APIResourceList", "groupVersion": group.group_version, "resources": [kind]}
            )
        if path in ("/api", "/api/v1"):  # kopf waits for them to be there
            core = {**kind_of(NAMESPACES), "namespaced": False}
            return web.json_response({"versions": ["v1"], "groupVersion": "v1", "resources": [core]})
        if path == "/apis":
            groups = [kind.group_version.split("/") for kind in WATCHED]
            versions = [[{"groupVersion": f"{name}/{version}", "version": version}] for name, version in groups]
            listed = [
                {"name": name, "versions": of, "preferredVersion": of[0]}
                for (name, _), of in zip(groups, versions, strict=True)
            ]
            return web.json_response({"kind": "APIGroupList", "groups": listed})
        items = [dense("b", "u2", 50_000)] if path.endswith("/sweepschedules") else []
        return web.json_response({"metadata": {"resourceVersion": "9"}, "items": items})

    def saw(kind: Any, body: Any, deleted: bool) -> None:
        found[body["metadata"]["name"]] = weight(body, HEAVIEST)
        if found.keys() == {"b", "late"}:
            both.set()

    async def served() -> None:
        return None

    async with receiver(answer) as url:
        watcher = Watcher(Connection(url), lambda: (), saw)
        running = asyncio.create_task(watcher.run(served, lambda: None))
        try:
            async with asyncio.timeout(scaled(30)):
                await both.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert max(found.values()) < 10_000


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "<html>", "", "[" * 20_000])
@pytest.mark.parametrize("status", [200, 403, 404, 502])
async def test_what_a_proxy_answers_in_place_of_the_api_server_is_an_outage_or_a_refusal(
    text: str, status: int
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    async with receiver(answer) as url:
        api = Api(Connection(url))
        try:
            if status == 404:
                assert await api.serves("keda.sh/v1alpha1") is False
            else:
                with pytest.raises(Refused if status == 403 else ApiOutage):
                    await api.serves("keda.sh/v1alpha1")
        finally:
            await api.close()


async def test_a_queue_that_takes_long_to_search_is_not_away_and_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with tens of millions of other keys."""
    monkeypatch.setattr("kubesweep_controller.reconcile.resync.LOOK_FOR_KEDA", 0.0)
    searches = 0

    class Slow(SqliteQueue):
        async def schedules(self) -> Any:
            nonlocal searches
            searches += 1
            raise Outage("QueueTimeout", "did not answer in time")

    queue = Slow(":memory:")
    gate = Gate(queue, "install0", lambda: None)
    reconciler = Reconciler("install0", ANY, Store(), ANY, gate, ANY, ANY, ANY)
    resync = Resync(ANY, (), reconciler.store, ANY, ANY, reconciler, lambda: None)
    resync._once.set()
    async with asyncio.timeout(scaled(10)):
        await resync.clear_up()
    gate.check()
    assert (searches, gate.away) == (SEARCHES, 0)


async def test_a_delete_names_the_very_object() -> None:
    asked: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"reason": "Conflict", "message": "the UID in the precondition"}, status=409)

    async with receiver(answer) as url:
        api = Api(Connection(url))
        assert await api.delete(DEPLOYMENTS, "shop", "a-worker", "c1") is False
        with pytest.raises(Refused):
            await api.delete(DEPLOYMENTS, "shop", "a-worker")
        await api.close()
    assert asked[0]["preconditions"] == {"uid": "c1"}


@pytest.mark.parametrize(
    "message",
    [
        'failed to convert new object (shop/a-worker; apps/v1, Kind=Deployment) to smd typed: quantities must match the regular expression',
        "failed to create typed patch object (shop/a; apps/v1, Kind=Deployment): .spec.x: field not declared in schema",
    ],
)  # fmt: skip
def test_what_no_other_try_cures_is_no_busy_server(message: str) -> None:
    assert Refused(500, "InternalError", message).invalid
    assert not Refused(500, "InternalError", "etcdserver: request timed out").invalid


NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.none())


@given(numbers=st.lists(NUMBERS, min_size=3, max_size=3))
async def test_numbers_of_one_schedule_never_end_the_metrics_of_all(
    numbers: list[Any], make_house: Callable[[], House]
) -> None:
    metrics, house = Metrics(), make_house()
    facts = await house.facts()
    good = {**house.body, "metadata": {**house.body["metadata"], "name": "good"}}
    ready, tick, planned = numbers
    status = {"lastSweep": {"state": "Running", "planned": planned}, "lastSuccessfulTime": tick}
    odd = facts.__class__(**{**facts.__dict__, "stats": Stats(known=True, ready=ready, last_tick=tick)})
    metrics.observe(odd, status)
    metrics.observe(facts.__class__(**{**facts.__dict__, "body": good, "stats": Stats(known=True, ready=3)}), {})
    assert 'kubesweep_queue_jobs{namespace="support",schedule="good",state="ready"} 3.0' in metrics.text().decode()


@pytest.fixture(scope="module")
def make_house(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], House]:
    queue = SqliteQueue(str(tmp_path_factory.mktemp("queue") / "q.db"))
    return lambda: House(queue, Clock())


def test_plain_objects_are_json(tmp_path: Any) -> None:
    assert json.loads(json.dumps(shallow(deep(900)))) == shallow(deep(900))
