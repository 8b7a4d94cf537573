"""Complete reconciles for several tenants, one of which has a problem: a real queue, an API server that keeps statuses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from kubesweep.errors import KubesweepError, Outage
from kubesweep.queue.model import FailedRow, Job, JobKind, Limits, Pace, Settlement, Window
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep.queue.redis.scripts import keys
from kubesweep_controller.children.names import ScheduleKey
from kubesweep_controller.children.pod_policy import PodPolicy
from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import SCHEDULES, Kind
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.guarded_queue import GuardedQueue
from kubesweep_controller.reconcile.queue_reconciler import QueueReconciler
from kubesweep_controller.reconcile.reconciler import Reconciler
from kubesweep_controller.reconcile.spec_cache import SpecCache
from kubesweep_controller.status.conditions.result import find_condition
from kubesweep_controller.status.formatting import time_text
from kubesweep_controller.status.observation import Children, Observation
from tests.integration.one_row import KINDS
from tests.kits.controller import SPEC, START, Clock, Recorder
from tests.kits.servers import shared

MINE = "ks/kubesweep"


class StatusClient(Recorder):
    """Keeps written statuses, unless it is ``busy``."""

    busy = False

    async def replace_status(self, kind: Kind, live: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
        if self.busy:
            raise Outage("ApiBusy", "busy")
        return {**live, "status": dict(status)}


class StubChildrenReconciler:
    """A children reconciler that succeeds, except for the schedules in ``broken``."""

    def __init__(self) -> None:
        self.broken: dict[ScheduleKey, Exception] = {}
        self.full_resync: set[ScheduleKey] = set()

    def running_plan(self, key: ScheduleKey, plan: Any) -> Any:
        return plan

    def credentials_problem(self, key: ScheduleKey) -> Outage | None:
        return None

    def seen(self, key: ScheduleKey) -> Children:
        return Children(keda=True, scaled=True, cron_since=START)

    async def reconcile(self, key: ScheduleKey, observation: Observation) -> Children:
        if key in self.broken:
            raise self.broken[key]
        return self.seen(key)

    def forget(self, key: ScheduleKey) -> None:
        pass


class RecordedEvents:
    """Events are only recorded, and there is no other release."""

    mine = MINE

    def __init__(self) -> None:
        self.posted: list[str] = []

    async def other(self, body: Any) -> None:
        return None

    async def post(self, body: Any, event: Any) -> None:
        self.posted.append(str(event.reason))

    def forget(self, uid: str) -> None:
        pass


class Bench:
    def __init__(self, queue: RedisQueue) -> None:
        self.clock, self.children, self.cache, self.events = (
            Clock(),
            StubChildrenReconciler(),
            Cache(),
            RecordedEvents(),
        )
        self.clock.now = time.time()  # the queue's own
        self.redis, self.client = queue, StatusClient()
        self.queue, self.metrics = GuardedQueue(queue, "local", lambda: None), Metrics()
        self.reconciler = Reconciler(
            client=self.client,
            cache=self.cache,
            children=self.children,  # type: ignore[arg-type]
            queue=QueueReconciler("local", self.queue, clock=self.clock),
            specs=SpecCache(PodPolicy()),
            events=self.events,  # type: ignore[arg-type]
            metrics=self.metrics,
            ownership=self.events,  # type: ignore[arg-type]
            clock=self.clock,
        )

    def add(self, namespace: str, **fields: Any) -> ScheduleKey:
        spec = {**SPEC, "every": "30s", **fields}
        spec.pop("schedule")
        meta = {
            "namespace": namespace,
            "name": "carts",
            "uid": f"{namespace}-1234",
            "resourceVersion": "5",
            "generation": 1,
        }
        meta["creationTimestamp"] = time_text(START - 3600)
        body = {"metadata": meta, "spec": spec, "status": {"servedBy": MINE}}
        assert self.cache.update(SCHEDULES, body) == (namespace, "carts")
        return namespace, "carts"

    def annotate(self, key: ScheduleKey, name: str, value: str) -> None:
        body = self.cache.schedules[key]
        meta = {**body["metadata"], "annotations": {name: value}}
        meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
        assert self.cache.update(SCHEDULES, {**body, "metadata": meta}) == key

    async def reconcile(self, key: ScheduleKey) -> dict[str, Any]:
        await self.reconciler.reconcile(key)
        ready = find_condition(self.cache.schedules[key]["status"], "Ready")
        assert ready is not None
        return dict(ready)

    async def dead_letters(self, key: ScheduleKey, **errors: str) -> None:
        """Reconcile, and run the sweep that is due: its rows become dead letters. ``errors``: the error of each, by its key."""
        await self.reconcile(key)
        self.clock.now += 31
        await self.reconcile(key)
        ref, limits = self.reconciler._refs[key], Limits(halt_above=1000)
        (plan,) = [
            each for each in (await self.redis.claim(ref, "ann", 9, limits)).jobs if each.job.kind is JobKind.PLAN
        ]
        job = Job(JobKind.RANGE, plan.job.plan, plan.job.sweep, "now", low=("a",), high=("z",), rows=len(errors))
        assert await self.redis.advance(ref, plan, Window("now", (job,), planned=len(errors)))
        (claim,) = (await self.redis.claim(ref, "ann", 1, limits)).jobs
        rows = tuple(FailedRow((name,), error, "refused") for name, error in errors.items())
        await self.redis.settle(ref, "ann", [Settlement(claim, dead=rows)], 0, limits)

    async def ticks(self, key: ScheduleKey) -> int:
        """The number of ticks that were offered to the queue, whatever it answered: the first sweep waits for a worker."""
        stats = await self.queue.stats(self.reconciler._refs[key])
        return sum(msgspec.structs.astuple(stats.ticks))

    @property
    def text(self) -> str:
        return self.metrics.text().decode()


@pytest.fixture
def bench(emptied: RedisQueue) -> Bench:
    return Bench(emptied)


@KINDS
async def test_damaged_keys_of_one_tenant_are_reported_and_reset_and_delay_no_other(kind: str, bench: Bench) -> None:
    bad, good = bench.add("bad"), bench.add("good")
    for key in (bad, good):
        await bench.reconcile(key)
    ref = bench.reconciler._refs[bad]
    with shared(kind).client() as client:
        for namespaced_name in keys(ref.prefix):
            client.delete(namespaced_name)
            client.set(namespaced_name, "x")
    bench.clock.now += 31
    ready = await bench.reconcile(bad)
    assert (ready["reason"], ready["message"].partition(":")[0]) == ("QueueUnavailable", "QueueDamaged")
    assert bench.queue.outage_seconds == 0
    assert (await bench.reconcile(good))["reason"] == "Checking"
    assert await bench.ticks(good) >= 1
    assert "kubesweep_queue_up 1.0" in bench.text
    bench.clock.now += 31
    assert (await bench.reconcile(bad))["reason"] == "Checking"
    assert await bench.ticks(bad) >= 1


@KINDS
@pytest.mark.parametrize(
    "error", [KubesweepError("Deployment carts-worker: failed to convert"), RecursionError(), Outage("ApiBusy", "busy")]
)
async def test_a_reconcile_that_keeps_failing_is_reported_and_stops_no_tick(
    kind: str, bench: Bench, error: Exception
) -> None:
    bad, good = bench.add("bad"), bench.add("good")
    bench.children.broken[bad] = error
    for key in (bad, good):
        assert (await bench.reconcile(key))["reason"] == "Checking"  # it may pass
    for round_ in range(1, 4):
        bench.clock.now += 31
        assert (await bench.reconcile(bad))["reason"] == "ReconcileFailed"
        assert (await bench.reconcile(good))["reason"] == "Checking"
        assert await bench.ticks(bad) == await bench.ticks(good) >= round_
    assert bench.events.posted.count("ReconcileFailed") == 1
    assert 'kubesweep_schedule_condition{namespace="bad",schedule="carts",type="Ready"} 0' in bench.text
    assert "kubesweep_reconcile_errors_total{" in bench.text
    del bench.children.broken[bad]
    assert (await bench.reconcile(bad))["reason"] == "Checking"


@KINDS
async def test_a_pod_that_this_installation_does_not_allow_is_an_invalid_spec_and_what_would_allow_it_is_named(
    kind: str, bench: Bench
) -> None:
    wants = {"podTemplate": {"spec": {"hostNetwork": True, "serviceAccountName": "carts-iam"}}}
    bad, good = bench.add("bad", worker=wants), bench.add("good")
    ready = await bench.reconcile(bad)
    assert ready["reason"] == "InvalidSpec"
    assert ready["message"].startswith("spec.worker.podTemplate.spec.hostNetwork: not allowed here:")
    assert "worker.podTemplate.allowPrivileged" in ready["message"]
    assert "serviceAccountName" not in ready["message"]
    assert (await bench.reconcile(good))["reason"] == "Checking"
    bench.reconciler.specs.policy = PodPolicy(privileged=True)
    bench.reconciler.specs.clear()  # like a restarted controller
    assert (await bench.reconcile(bad))["reason"] == "Checking"


@KINDS
async def test_the_pace_of_the_spec_and_of_its_annotation_is_in_the_queue_again_after_it_was_lost(
    kind: str, bench: Bench
) -> None:
    key = bench.add("shop", limits={"rowsPerSecond": 40, "batchTime": "1s"})

    async def pace_and_pause() -> tuple[Pace | None, bool]:
        await bench.reconcile(key)
        stats = await bench.queue.stats(bench.reconciler._refs[key])
        return stats.pace, stats.paused

    assert await pace_and_pause() == (Pace.of(40.0, batch_time=1.0), False)
    bench.annotate(key, "kubesweep.dev/throttle", "pause")
    assert await pace_and_pause() == (Pace.of(40.0, "pause", 1.0), True)
    with shared(kind).client() as client:
        client.flushall()
    assert await pace_and_pause() == (Pace.of(40.0, "pause", 1.0), True)
    bench.annotate(key, "kubesweep.dev/throttle", "2.5")
    assert await pace_and_pause() == (Pace.of(40.0, "2.5", 1.0), False)
    bench.annotate(key, "kubesweep.dev/throttle", "")
    assert await pace_and_pause() == (Pace.of(40.0, batch_time=1.0), False)


@KINDS
@pytest.mark.parametrize(
    ("name", "value", "left", "answer"),
    [
        ("retry-dead-letters", '{"nonce": "1", "error": "Http500"}', {"c", "d"}, ("2 rows are being retried", 2)),
        ("retry-dead-letters", '{"nonce": "1", "keys": ["c", "x"]}', {"a", "b", "d"}, ("1 row is being retried", 1)),
        ("purge-dead-letters", '{"nonce": "1", "error": "Http422", "keys": ["a", "d"]}', {"a", "b", "c"}, ("1 row is forgotten; a later sweep finds those that are still stale", 1)),
    ],
)  # fmt: skip
async def test_a_command_is_executed_once_although_the_api_server_does_not_take_its_answer(
    kind: str, bench: Bench, name: str, value: str, left: set[str], answer: tuple[str, int]
) -> None:
    key = bench.add("shop")
    await bench.dead_letters(key, a="Http500", b="Http500", c="Http422", d="Http422")
    bench.annotate(key, f"kubesweep.dev/{name}", value)
    bench.client.busy = True
    for _ in range(2):
        with pytest.raises(Outage):
            await bench.reconcile(key)
        dead = await bench.redis.dead_letters(bench.reconciler._refs[key])
        assert {each.key[0] for each in dead} == left
    bench.client.busy = False
    await bench.reconcile(key)
    (found,) = bench.cache.schedules[key]["status"]["answers"]
    assert (found["outcome"], found["nonce"], found["message"], found["rows"]) == ("Done", "1", *answer)
    assert bench.reconciler.queue._results.keys() == {bench.reconciler._refs[key]}
    await bench.reconcile(key)
    assert not bench.reconciler.queue._results
    assert bench.cache.schedules[key]["status"]["answers"] == [found]


@KINDS
async def test_results_of_a_deleted_schedule_are_forgotten(kind: str, bench: Bench) -> None:
    key = bench.add("shop")
    await bench.reconcile(key)
    bench.annotate(key, "kubesweep.dev/trigger", "1")
    bench.client.busy = True
    with pytest.raises(Outage):
        await bench.reconcile(key)
    assert bench.reconciler.queue._results
    bench.reconciler.queue.forget(key)
    assert not bench.reconciler.queue._results
