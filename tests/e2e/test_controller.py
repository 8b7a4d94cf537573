"""The controller as a process against a real API server: the children that it creates, and what it does not change."""

from __future__ import annotations

import copy
import signal
import time
from typing import Any

import pytest

from kubesweep.queue.model import SweepRequest
from kubesweep_controller.kube.apply import covers
from kubesweep_controller.kube.client import CRONJOBS, DEPLOYMENTS, SCALEDOBJECTS, SECRETS, Kind
from tests.kits.controller_environment import CHILDREN, ControllerEnvironment, now, writes_since
from tests.kits.polling import until

PARKED = "autoscaling.keda.sh/paused-replicas"


def versions(children: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """UID and generation of each child. The resourceVersion also changes when KEDA writes a status."""
    return [(each["metadata"]["uid"], each["metadata"]["generation"]) for each in children]


async def children(env: ControllerEnvironment, name: str = "carts") -> list[dict[str, Any]]:
    return [await env.child(kind, suffix, name) for kind, suffix in CHILDREN]


async def test_an_applied_schedule_gets_its_children_and_becomes_ready(env: ControllerEnvironment) -> None:
    await env.start_controller()
    await env.apply()
    made = await children(env)
    assert made[0]["spec"]["replicas"] <= 1
    assert (await until(lambda: _count_replica_sets(env))) == 1
    assert await until(lambda: env.get(SECRETS, "kubesweep-queue"))
    await env.until_reason("Ready", "Checking")
    await env.complete_check()
    await env.until_reason("Ready", "Ready")
    assert await env.condition("SourceReady") == ("True", "Checked")


async def _count_replica_sets(env: ControllerEnvironment) -> int:
    return len(await env.api.list(Kind("apps/v1", "ReplicaSet", "replicasets"), env.namespace))


@pytest.mark.bed
async def test_a_second_controller_writes_to_no_child(env: ControllerEnvironment) -> None:
    first = await env.start_controller()
    await env.apply()
    await env.complete_check()
    await env.until_reason("Ready", "Ready")
    assert await env.kill(first, signal.SIGTERM) == 0
    before = versions(await children(env))
    start = now()
    await env.start_controller("controller-1")
    await env.apply("second")
    await env.until_reason("Ready", "Checking", "second")
    written = {f"{each.verb} {each.resource}" for each in writes_since(env, start) if "second" not in each.name}
    assert written <= {
        "patch secrets",
        "patch sweepschedules/status",
        "create events",
    }  # KEDA may change its own objects
    assert versions(await children(env)) == before


async def test_each_child_applied_twice_keeps_its_version(env: ControllerEnvironment) -> None:
    await env.start_controller()
    overlay = {"spec": {"nodeSelector": {"disk": "fast"}, "tolerations": [], "hostNetwork": False}}
    await env.apply(worker={"resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}, "podTemplate": overlay})
    await env.until_reason("Ready", "Checking")
    for kind, suffix in CHILDREN:
        body = await env.child(kind, suffix)
        applied = copy.deepcopy(body)
        for name in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "finalizers"):
            applied["metadata"].pop(name, None)
        applied.pop("status", None)
        applied["spec"].pop("replicas", None)
        once = await env.api.apply(kind, applied)
        twice = await env.api.apply(kind, applied)
        assert twice["metadata"]["resourceVersion"] == once["metadata"]["resourceVersion"], kind.kind


async def test_edited_or_deleted_children_are_restored(env: ControllerEnvironment) -> None:
    await env.start_controller()
    await env.apply()
    await env.until_reason("Ready", "Checking")
    wrong = [{"name": "worker", "image": "other:1", "command": ["sh"]}]
    template = {"spec": {"template": {"spec": {"containers": wrong}}}}
    await env.api.patch(DEPLOYMENTS, env.namespace, "carts-worker", {"metadata": {"labels": None}} | template)
    before = (await env.child(CRONJOBS, "tick"))["metadata"]["uid"]
    await env.api.delete(CRONJOBS, env.namespace, "carts-tick")

    async def restored() -> bool:
        deployment, cronjob = await env.get(DEPLOYMENTS, "carts-worker"), await env.get(CRONJOBS, "carts-tick")
        container = (deployment or {})["spec"]["template"]["spec"]["containers"][0]
        labels = (deployment or {})["metadata"].get("labels") or {}
        same = container["command"] == ["kubesweep-worker", "work"] and "kubesweep.dev/schedule" in labels
        return bool(same and cronjob and cronjob["metadata"]["uid"] != before)

    await until(restored)


async def test_a_foreign_object_with_a_childs_name_is_left_alone_and_reported(env: ControllerEnvironment) -> None:
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "carts-worker", "namespace": env.namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "mine"}},
            "template": {
                "metadata": {"labels": {"app": "mine"}},
                "spec": {"containers": [{"name": "c", "image": "mine"}]},
            },
        },
    }
    made = await env.api.create(DEPLOYMENTS, foreign)
    await env.start_controller()
    await env.apply()
    await env.until_reason("Ready", "NameTaken")
    left = await env.get(DEPLOYMENTS, "carts-worker")
    assert left
    assert left["metadata"]["generation"] == made["metadata"]["generation"]
    assert "ownerReferences" not in left["metadata"]
    await env.api.delete(DEPLOYMENTS, env.namespace, "carts-worker")
    await env.until_reason("Ready", "Checking")
    assert (await env.child(DEPLOYMENTS, "worker"))["metadata"]["ownerReferences"]


async def test_an_edit_changes_only_the_children_that_it_concerns(env: ControllerEnvironment) -> None:
    await env.start_controller()
    await env.apply()
    await env.until_reason("Ready", "Checking")
    first = await children(env)
    await env.apply(schedule="0 1 1 1 *")
    await env.until_reason("Ready", "Checking")
    deployment, cronjob, *scaling = await children(env)
    assert cronjob["spec"]["schedule"] == "0 1 1 1 *"
    assert deployment["spec"]["template"] == first[0]["spec"]["template"]
    # KEDA writes fields of its own into a new ScaledObject, perhaps between the two readings.
    assert versions(scaling) == versions(first[2:]) or covers(scaling[0]["spec"], first[2]["spec"])
    assert versions(scaling[1:]) == versions(first[3:])
    await env.apply(worker={"maxReplicas": 9})
    await until(lambda: _is_max(env, 9))


async def _is_max(env: ControllerEnvironment, most: int) -> bool:
    return bool((await env.child(SCALEDOBJECTS, "worker"))["spec"]["maxReplicaCount"] == most)


async def test_a_rejected_child_is_reported_and_an_edit_fixes_it(env: ControllerEnvironment) -> None:
    await env.start_controller()
    await env.apply(
        worker={"podTemplate": {"spec": {"containers": [{"name": "worker", "ports": [{"containerPort": 80, "x": 1}]}]}}}
    )
    await env.until_reason("Ready", "ChildRejected")
    assert (await env.condition("Stalled"))[0] == "True"
    await env.apply()
    await env.until_reason("Ready", "Checking")
    assert (await env.condition("Stalled"))[0] == "False"


async def test_a_schedule_with_every_has_no_cronjob(env: ControllerEnvironment) -> None:
    await env.start_controller()
    await env.apply()
    await env.child(CRONJOBS, "tick")
    await env.apply(schedule=None, every="5s")

    async def gone() -> bool:
        return await env.get(CRONJOBS, "carts-tick") is None

    await until(gone)

    async def ticked() -> bool:
        return (await env.stats()).ticks.enqueued == 1

    await until(ticked)
    assert (await env.stats()).sweep is not None


async def test_a_suspended_schedule_has_no_workers_and_resumes(env: ControllerEnvironment) -> None:
    await env.start_controller()
    await env.apply()
    await env.complete_check()
    await env.until_reason("Ready", "Ready")
    before = await env.child(DEPLOYMENTS, "worker")
    await env.apply(suspend=True)

    async def scaled_to_zero() -> bool:
        scaled = await env.child(SCALEDOBJECTS, "worker")
        return (scaled["metadata"].get("annotations") or {}).get(PARKED) == "0"

    await until(scaled_to_zero)
    assert (await env.child(CRONJOBS, "tick"))["spec"]["suspend"] is True
    assert (await env.stats()).paused
    await env.until_reason("Suspended", "Suspended")
    await env.apply(suspend=False)

    async def resumed() -> bool:
        return not await scaled_to_zero() and not (await env.stats()).paused

    await until(resumed)
    after = await env.child(DEPLOYMENTS, "worker")
    assert after["spec"]["template"] == before["spec"]["template"]


async def test_an_edit_during_a_sweep_restarts_it_with_the_new_plan(env: ControllerEnvironment) -> None:
    await env.start_controller()
    await env.apply()
    await env.complete_check()
    await env.until_reason("Ready", "Ready")
    [finding] = (await env.stats()).findings
    opened = await env.queue.open_sweep(await env.ref(), SweepRequest(tick=time.time(), plan=finding.plan))
    await env.apply(write={"update": [{"column": "status", "value": "gone"}]})

    async def superseded() -> bool:
        sweep = (await env.stats()).sweep
        return sweep is not None and sweep.id != opened.sweep and sweep.plan.newer_than(finding.plan)

    await until(superseded)
    assert [each.state for each in (await env.stats()).history] == ["Superseded"]


async def test_an_invalid_edit_keeps_the_last_valid_children(env: ControllerEnvironment) -> None:
    await env.start_controller()
    await env.apply()
    await env.complete_check()
    await env.until_reason("Ready", "Ready")
    before = versions(await children(env))
    await env.apply(timeZone="Mars/Olympus")
    await env.until_reason("Ready", "InvalidSpec")
    assert versions(await children(env)) == before
    await env.apply(timeZone="Europe/Lisbon")
    await env.until_reason("Ready", "Ready")
    assert "InvalidSpec" in await env.event_reasons()
