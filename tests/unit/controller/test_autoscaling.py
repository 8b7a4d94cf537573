"""The condition Autoscaling before, during and without a report of KEDA. A real queue, a clock that tests move."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kubesweep_controller.kube.apply import Applier
from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.queue.credentials import QueueCredentials
from kubesweep_controller.reconcile.children_reconciler import RECHECK, ChildrenReconciler
from kubesweep_controller.settings import from_environment
from kubesweep_controller.status.conditions.autoscaling import SILENCE
from tests.kits.controller import Recorder, ScheduleSimulation

KEY = ("support", "close-idle")
ENVIRONMENT = {
    "KUBESWEEP_QUEUE": "redis://:sesame@redis.example:6379/0",
    "KUBESWEEP_WORKER_IMAGE": "worker:1",
    "POD_NAMESPACE": "kubesweep",
    "POD_NAME": "kubesweep-0",
    "KUBESWEEP_POLLING_INTERVAL": "30",
}


class Cluster(Recorder):
    """An API server with one ScaledObject and the status that KEDA has written so far."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: dict[str, Any] | None = None
        self.asked = 0

    async def get(self, kind: Any, namespace: str | None, name: str) -> dict[str, Any]:
        self.asked += 1
        return {"status": {"conditions": [{"type": "Ready", **self.ready}]} if self.ready else {}}


async def test_autoscaling_is_unknown_before_keda_reports(sim: ScheduleSimulation) -> None:
    sim.child(scaled=None)
    assert await sim.condition("Autoscaling") == ("Unknown", "Checking")
    sim.child(scaled=False)
    assert await sim.condition("Autoscaling") == ("Unknown", "Checking")
    assert await sim.condition("Ready") == ("False", "Checking")
    sim.child(scaled=True)
    assert await sim.condition("Autoscaling") == ("True", "ScaledByKeda")


async def test_after_a_minute_of_silence_the_likely_causes_are_named_and_ready_repeats_them(
    sim: ScheduleSimulation,
) -> None:
    sim.child(scaled=False, desired=0)
    await sim.reconcile()
    sim.wait(SILENCE - 1)
    assert await sim.condition("Autoscaling") == ("Unknown", "Checking")
    sim.wait(1)
    assert await sim.condition("Autoscaling") == ("Unknown", "ScalerSilent")
    message = sim.message("Autoscaling")
    for word in (
        "operator is down",
        "watchNamespace",
        "watchLabelSelector",
        "kubectl get scaledobject close-idle-worker -n support",
    ):
        assert word in message
    assert await sim.condition("Ready") == ("False", "WorkerStuck")
    assert message in sim.message("Ready")
    sim.child(scaled=True)
    assert await sim.condition("Autoscaling") == ("True", "ScaledByKeda")
    assert await sim.condition("Ready") == ("False", "Checking")


async def test_a_schedule_that_was_checked_stays_ready_while_keda_is_silent(sim: ScheduleSimulation) -> None:
    await sim.ready()
    sim.child(scaled=False)
    await sim.reconcile()
    sim.wait(2 * SILENCE)
    assert await sim.condition("Autoscaling") == ("Unknown", "ScalerSilent")
    assert await sim.condition("Ready") == ("True", "Ready")


async def test_silence_is_not_reported_where_a_worker_runs_or_starts(sim: ScheduleSimulation) -> None:
    sim.child(scaled=False, desired=1)
    await sim.reconcile()
    sim.wait(2 * SILENCE)
    assert await sim.condition("Ready") == ("False", "Checking")


async def test_a_problem_of_keda_is_reported_at_once_and_after_a_minute_explains_why_no_worker_starts(
    sim: ScheduleSimulation,
) -> None:
    sim.child(scaled=False, desired=0, scaler_problem="KEDA: NOAUTH")
    await sim.reconcile()
    assert await sim.condition("Ready") == ("False", "Checking")
    assert "KEDA: NOAUTH" in sim.message("Ready")
    sim.wait(SILENCE)
    assert await sim.condition("Ready") == ("False", "WorkerStuck")
    assert "KEDA: NOAUTH" in sim.message("Ready")


async def test_an_operator_that_stopped_after_ready_is_detected_by_waiting_jobs(
    sim: ScheduleSimulation,
) -> None:
    await sim.ready()
    sim.child(scaled=True, desired=0)
    await sim.reconcile()
    sim.wait(3600)
    await sim.reconcile()
    await sim.tick()
    sim.wait(SILENCE)
    assert await sim.condition("Autoscaling") == ("True", "ScaledByKeda")
    sim.wait(2 * sim.children.polling)
    assert await sim.condition("Autoscaling") == ("Unknown", "ScalerSilent")
    assert "no worker was started" in sim.message("Autoscaling")
    sim.wait(1)
    assert await sim.condition("Autoscaling") == ("Unknown", "ScalerSilent")
    sim.child(desired=1)
    assert await sim.condition("Autoscaling") == ("True", "ScaledByKeda")


async def test_work_that_waited_while_the_schedule_was_suspended_is_no_silence_of_keda(sim: ScheduleSimulation) -> None:
    await sim.ready()
    sim.child(scaled=True, desired=0)
    sim.edit(suspend=True)
    await sim.reconcile()
    await sim.tick()
    await sim.queue.pause(sim.ref, True)
    sim.wait(3600)
    assert await sim.condition("Autoscaling") == ("True", "ScaledByKeda")
    sim.edit(suspend=False)
    await sim.queue.pause(sim.ref, False)
    assert await sim.condition("Autoscaling") == ("True", "ScaledByKeda")
    sim.wait(1)
    assert await sim.condition("Autoscaling") == ("True", "ScaledByKeda")


async def test_an_invalid_spec_invalidates_nothing_that_keda_reported(sim: ScheduleSimulation) -> None:
    sim.child(scaled=False)
    await sim.reconcile()
    sim.child(scaled=None)
    sim.wait(2 * SILENCE)
    assert await sim.condition("Autoscaling") == ("Unknown", "Checking")


@pytest.mark.parametrize(
    ("ready", "scaled", "problem"),
    [
        (None, False, None),
        ({"status": "Unknown"}, False, None),
        ({"status": "True", "message": "ready for scaling"}, True, None),
        ({"status": "False", "message": "no connection"}, False, "KEDA: no connection"),
    ],
)
async def test_the_children_reconciler_reads_kedas_report_no_more_than_needed(
    sim: ScheduleSimulation,
    monkeypatch: pytest.MonkeyPatch,
    ready: dict[str, Any] | None,
    scaled: bool,
    problem: str | None,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    settings, client = from_environment(ENVIRONMENT), Cluster()
    reconciler = ChildrenReconciler(
        settings, client, Cache(), Applier(client), QueueCredentials(settings, "abcd1234", client), keda=True
    )
    assert reconciler.seen(KEY).scaled is None
    client.ready = ready
    await reconciler._query_keda(KEY, await sim.observation())
    seen = reconciler.seen(KEY)
    assert (seen.scaled, seen.scaler_problem, seen.polling) == (scaled, problem, 30)
    await reconciler._query_keda(KEY, await sim.observation())
    assert client.asked == 1
    now[0] += RECHECK
    await reconciler._query_keda(KEY, await sim.observation())
    assert client.asked == (1 if scaled else 2)
