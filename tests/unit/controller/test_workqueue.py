"""The work queue, retry delays, refusals and probes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubesweep import SpecError
from kubesweep.errors import Outage
from kubesweep_controller.children.names import ScheduleKey
from kubesweep_controller.children.pod_policy import PodPolicy
from kubesweep_controller.health import Health
from kubesweep_controller.kube import workqueue
from kubesweep_controller.kube.client import Refused
from kubesweep_controller.kube.workqueue import WorkQueue, backoff
from kubesweep_controller.queue.credentials import derived
from kubesweep_controller.queue.users import KEDA_RULES, POD_RULES
from kubesweep_controller.settings import from_environment

A, B = ("shop", "a"), ("shop", "b")
ENV = {
    "KUBESWEEP_QUEUE": "redis://h",
    "KUBESWEEP_WORKER_IMAGE": "worker:1",
    "POD_NAMESPACE": "kubesweep-system",
    "POD_NAME": "controller-0",
}


@asynccontextmanager
async def working(
    reconcile: Callable[[ScheduleKey], Awaitable[float | None]], at_once: int = 4
) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(reconcile, at_once)
    task = asyncio.create_task(queue.run())
    yield queue
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_is_reconciled_once_however_often_it_was_added() -> None:
    seen: list[ScheduleKey] = []
    both = asyncio.Event()

    async def reconcile(key: ScheduleKey) -> None:
        seen.append(key)
        if len(seen) == 2:
            both.set()

    async with working(reconcile) as queue:
        for _ in range(5):
            queue.add(A)
            queue.add(B)
        await both.wait()
    assert sorted(seen) == [A, B]


async def test_a_key_added_during_its_reconcile_is_reconciled_again_and_never_concurrently() -> None:
    running = 0
    runs = 0
    release_first, again = asyncio.Event(), asyncio.Event()

    async def reconcile(key: ScheduleKey) -> None:
        nonlocal running, runs
        running += 1
        assert running == 1
        runs += 1
        if runs == 1:
            queue.add(key)
            release_first.set()
            await asyncio.sleep(0)
        else:
            again.set()
        running -= 1

    async with working(reconcile) as queue:
        queue.add(A)
        await release_first.wait()
        await again.wait()
    assert runs == 2


async def test_no_more_concurrent_reconciles_than_allowed() -> None:
    running = most = 0
    done = asyncio.Event()
    applied = 20

    async def reconcile(key: ScheduleKey) -> None:
        nonlocal running, most, applied
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        applied -= 1
        if not applied:
            done.set()

    async with working(reconcile, at_once=3) as queue:
        for number in range(20):
            queue.add(("shop", str(number)))
        await done.wait()
    assert most == 3


async def test_a_failed_reconcile_is_retried_for_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "FIRST_BACKOFF", 0.001)
    runs = 0
    done = asyncio.Event()

    async def reconcile(key: ScheduleKey) -> None:
        nonlocal runs
        runs += 1
        if runs == 4:
            done.set()
            return
        raise Outage("Away", "away") if runs % 2 else RuntimeError("a mistake")

    async with working(reconcile) as queue:
        queue.add(A)
        await done.wait()
    assert runs == 4


def test_retry_delays_grow_to_a_minute_and_are_randomized() -> None:
    assert [backoff(times, 1.0) for times in (1, 2, 3, 6, 7, 8, 1000)] == [1, 2, 4, 32, 60, 60, 60]
    assert backoff(3, 0.5) == 2.0


async def test_a_reconcile_returns_its_next_time_and_a_change_comes_first() -> None:
    runs = asyncio.Queue[ScheduleKey]()

    async def reconcile(key: ScheduleKey) -> float:
        runs.put_nowait(key)
        return 3600.0

    async with working(reconcile) as queue:
        queue.add(A)
        assert await runs.get() == A
        queue.add(A)
        assert await runs.get() == A
        queue.forget(A)
        assert len(queue) == 0


def test_refusals_of_the_object_differ_from_those_of_the_cluster() -> None:
    assert Refused(422, "Invalid", "bad cron").invalid
    assert Refused(
        500, "InternalError", "failed to create typed patch object (...): .spec.x: field not declared"
    ).invalid
    assert not Refused(403, "Forbidden", "exceeded quota").invalid
    assert not Refused(422, "Invalid", "ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no team").invalid
    assert not Refused(400, "", 'admission webhook "validate.kyverno.svc" denied the request: no team').invalid


def test_settings_are_read_once_and_name_what_is_wrong() -> None:
    settings = from_environment({**ENV, "KUBESWEEP_NAMESPACES": "a, b,,a", "KUBESWEEP_QUEUE_USERS": "per-namespace"})
    assert settings.namespaces == ("a", "b")
    assert settings.per_namespace_users
    assert settings.pod_policy == PodPolicy(privileged=False, token=False, service_accounts=("*",))
    given = {"KUBESWEEP_POD_PRIVILEGED": "true", "KUBESWEEP_POD_TOKEN": "true", "KUBESWEEP_POD_SERVICE_ACCOUNTS": "a,b"}
    assert from_environment({**ENV, **given}).pod_policy == PodPolicy(True, True, ("a", "b"))
    assert from_environment({**ENV, "KUBESWEEP_POD_SERVICE_ACCOUNTS": ""}).pod_policy.service_accounts == ()
    for name, value in {
        "KUBESWEEP_QUEUE": "",
        "POD_NAMESPACE": "",
        "KUBESWEEP_POLLING_INTERVAL": "0",
        "KUBESWEEP_QUEUE_USERS": "some",
        "KUBESWEEP_LOG_LEVEL": "loud",
        "KUBESWEEP_POD_PRIVILEGED": "yes",
        "KUBESWEEP_POD_TOKEN": "1",
        "KUBESWEEP_WORKER_PULL_POLICY": "Perhaps",
    }.items():
        with pytest.raises(SpecError, match=name):
            from_environment({**ENV, name: value})


def test_the_rules_of_the_users_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "redis-acl.md").read_text("utf-8")
    rules = {name: rest.split() for name, rest in re.findall(r"^user kubesweep-(\w+) on >PASSWORD (.*)$", page, re.M)}

    def granted(name: str) -> set[str]:
        return {rule for rule in rules[name] if rule.startswith("+")}

    assert {rule for rule in POD_RULES.split() if rule.startswith("+")} == granted("worker") | granted("producer")
    assert {rule for rule in KEDA_RULES.split() if rule.startswith("+")} == granted("keda")


def test_derived_passwords_differ_by_purpose_and_stay_the_same() -> None:
    assert derived("admin", "worker/a") == derived("admin", "worker/a") != derived("admin", "worker/b")
    assert "admin" not in derived("admin", "keda")


def test_probes_report_what_is_missing() -> None:
    health = Health(max_age=60.0, last_beat=100.0)
    assert health.readiness_problem() == "the Lease is not held yet"
    health.is_standby = True
    assert health.readiness_problem() == ""
    health.is_leader = True
    assert health.readiness_problem() == "SweepSchedules have not been listed yet"
    health.listed = 100.0
    assert health.readiness_problem() == "the queue has not responded yet"
    health.queue_reached = True
    assert health.readiness_problem() == ""
    assert health.liveness_problem(101.0) == ""
    assert "has been blocked" in health.liveness_problem(200.0)
    health.last_beat = 200.0
    assert "full list" in health.liveness_problem(200.0)
