"""The controller as a process against a real API server: what it makes, and what it leaves alone."""

from __future__ import annotations

import copy
import signal
import time
from typing import Any

import pytest

from kubesweep.queue.model import SweepRequest
from kubesweep_controller.kube.client import CRONJOBS, DEPLOYMENTS, SCALEDOBJECTS, SECRETS, Kind
from tests.kits.controller_environment import CHILDREN, Stage, now, until, writes_since

PARKED = "autoscaling.keda.sh/paused-replicas"


def versions(children: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Which object, and which version of its spec; KEDA and others write statuses as they like."""
    return [(each["metadata"]["uid"], each["metadata"]["generation"]) for each in children]


async def family(stage: Stage, name: str = "carts") -> list[dict[str, Any]]:
    return [await stage.child(kind, suffix, name) for kind, suffix in CHILDREN]


async def test_an_applied_schedule_gets_its_children_and_becomes_ready(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    children = await family(stage)
    assert children[0]["spec"]["replicas"] <= 1
    assert (await until(lambda: _sets(stage))) == 1
    assert await until(lambda: stage.get(SECRETS, "kubesweep-queue"))
    await stage.says("Ready", "Checking")
    await stage.be_the_worker()
    await stage.says("Ready", "Ready")
    assert await stage.condition("SourceReady") == ("True", "Checked")


async def _sets(stage: Stage) -> int:
    return len(await stage.api.list(Kind("apps/v1", "ReplicaSet", "replicasets"), stage.namespace))


@pytest.mark.bed
async def test_a_second_controller_finds_every_child_in_place_and_writes_to_none(stage: Stage) -> None:
    first = await stage.start()
    await stage.apply()
    await stage.be_the_worker()
    await stage.says("Ready", "Ready")
    assert await stage.kill(first, signal.SIGTERM) == 0
    before = versions(await family(stage))
    start = now()
    await stage.start("controller-1")
    await stage.apply("second")
    await stage.says("Ready", "Checking", "second")
    written = {f"{each.verb} {each.resource}" for each in writes_since(stage, start) if "second" not in each.name}
    assert written <= {"patch secrets", "patch sweepschedules/status", "create events"}  # KEDA may have news of its own
    assert versions(await family(stage)) == before


async def test_each_child_applied_twice_keeps_its_version(stage: Stage) -> None:
    await stage.start()
    overlay = {"spec": {"nodeSelector": {"disk": "fast"}, "tolerations": [], "hostNetwork": False}}
    await stage.apply(worker={"resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}, "podTemplate": overlay})
    await stage.says("Ready", "Checking")
    for kind, suffix in CHILDREN:
        body = await stage.child(kind, suffix)
        ours = copy.deepcopy(body)
        for name in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "finalizers"):
            ours["metadata"].pop(name, None)
        ours.pop("status", None)
        ours["spec"].pop("replicas", None)
        once = await stage.api.apply(kind, ours)
        twice = await stage.api.apply(kind, ours)
        assert twice["metadata"]["resourceVersion"] == once["metadata"]["resourceVersion"], kind.kind


async def test_children_that_are_edited_or_deleted_by_hand_come_back(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    await stage.says("Ready", "Checking")
    wrong = [{"name": "worker", "image": "other:1", "command": ["sh"]}]
    template = {"spec": {"template": {"spec": {"containers": wrong}}}}
    await stage.api.patch(DEPLOYMENTS, stage.namespace, "carts-worker", {"metadata": {"labels": None}} | template)
    before = (await stage.child(CRONJOBS, "tick"))["metadata"]["uid"]
    await stage.api.delete(CRONJOBS, stage.namespace, "carts-tick")

    async def mended() -> bool:
        deployment, cronjob = await stage.get(DEPLOYMENTS, "carts-worker"), await stage.get(CRONJOBS, "carts-tick")
        container = (deployment or {})["spec"]["template"]["spec"]["containers"][0]
        labels = (deployment or {})["metadata"].get("labels") or {}
        same = container["command"] == ["kubesweep-worker", "work"] and "kubesweep.dev/schedule" in labels
        return bool(same and cronjob and cronjob["metadata"]["uid"] != before)

    await until(mended)


async def test_an_object_of_somebody_else_is_left_alone_and_named(stage: Stage) -> None:
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "carts-worker", "namespace": stage.namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "mine"}},
            "template": {
                "metadata": {"labels": {"app": "mine"}},
                "spec": {"containers": [{"name": "c", "image": "mine"}]},
            },
        },
    }
    made = await stage.api.create(DEPLOYMENTS, theirs)
    await stage.start()
    await stage.apply()
    await stage.says("Ready", "NameTaken")
    left = await stage.get(DEPLOYMENTS, "carts-worker")
    assert left
    assert left["metadata"]["generation"] == made["metadata"]["generation"]
    assert "ownerReferences" not in left["metadata"]
    await stage.api.delete(DEPLOYMENTS, stage.namespace, "carts-worker")
    await stage.says("Ready", "Checking")
    assert (await stage.child(DEPLOYMENTS, "worker"))["metadata"]["ownerReferences"]


async def test_an_edit_rolls_what_it_must_and_nothing_else(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    await stage.says("Ready", "Checking")
    first = await family(stage)
    await stage.apply(schedule="0 1 1 1 *")
    await stage.says("Ready", "Checking")
    deployment, cronjob, *scaling = await family(stage)
    assert cronjob["spec"]["schedule"] == "0 1 1 1 *"
    assert deployment["spec"]["template"] == first[0]["spec"]["template"]
    assert versions(scaling) == versions(first[2:]) or scaling[0]["spec"] == first[2]["spec"]
    await stage.apply(worker={"maxReplicas": 9})
    await until(lambda: _is_max(stage, 9))


async def _is_max(stage: Stage, most: int) -> bool:
    return bool((await stage.child(SCALEDOBJECTS, "worker"))["spec"]["maxReplicaCount"] == most)


async def test_what_the_api_server_refuses_in_a_child_is_said_and_an_edit_cures_it(stage: Stage) -> None:
    await stage.start()
    await stage.apply(
        worker={"podTemplate": {"spec": {"containers": [{"name": "worker", "ports": [{"containerPort": 80, "x": 1}]}]}}}
    )
    await stage.says("Ready", "ChildRejected")
    assert (await stage.condition("Stalled"))[0] == "True"
    await stage.apply()
    await stage.says("Ready", "Checking")
    assert (await stage.condition("Stalled"))[0] == "False"


async def test_a_schedule_that_ticks_by_the_clock_has_no_cronjob_any_more(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    await stage.child(CRONJOBS, "tick")
    await stage.apply(schedule=None, every="5s")

    async def gone() -> bool:
        return await stage.get(CRONJOBS, "carts-tick") is None

    await until(gone)

    async def ticked() -> bool:
        return (await stage.stats()).ticks.enqueued == 1

    await until(ticked)
    assert (await stage.stats()).sweep is not None


async def test_a_suspended_schedule_is_paused_and_parked_and_goes_on_where_it_was(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    await stage.be_the_worker()
    await stage.says("Ready", "Ready")
    before = await stage.child(DEPLOYMENTS, "worker")
    await stage.apply(suspend=True)

    async def parked() -> bool:
        scaled = await stage.child(SCALEDOBJECTS, "worker")
        return (scaled["metadata"].get("annotations") or {}).get(PARKED) == "0"

    await until(parked)
    assert (await stage.child(CRONJOBS, "tick"))["spec"]["suspend"] is True
    assert (await stage.stats()).paused
    await stage.says("Suspended", "Suspended")
    await stage.apply(suspend=False)

    async def resumed() -> bool:
        return not await parked() and not (await stage.stats()).paused

    await until(resumed)
    after = await stage.child(DEPLOYMENTS, "worker")
    assert after["spec"]["template"] == before["spec"]["template"]


async def test_an_edit_while_a_sweep_runs_starts_it_anew_with_the_new_plan(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    await stage.be_the_worker()
    await stage.says("Ready", "Ready")
    [finding] = (await stage.stats()).findings
    opened = await stage.queue.open_sweep(await stage.ref(), SweepRequest(tick=time.time(), plan=finding.plan))
    await stage.apply(write={"update": [{"column": "status", "value": "gone"}]})

    async def superseded() -> bool:
        sweep = (await stage.stats()).sweep
        return sweep is not None and sweep.id != opened.sweep and sweep.plan.newer_than(finding.plan)

    await until(superseded)
    assert [each.state for each in (await stage.stats()).history] == ["Superseded"]


async def test_an_edit_that_is_refused_leaves_what_was_valid_at_work(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    await stage.be_the_worker()
    await stage.says("Ready", "Ready")
    before = versions(await family(stage))
    await stage.apply(timeZone="Mars/Olympus")
    await stage.says("Ready", "InvalidSpec")
    assert versions(await family(stage)) == before
    await stage.apply(timeZone="Europe/Lisbon")
    await stage.says("Ready", "Ready")
    assert "InvalidSpec" in await stage.events()
