"""The controller as a process against a real API server: what it makes, what it leaves alone, and what it survives."""

from __future__ import annotations

import asyncio
import copy
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubesweep.queue.model import OpenSweep, PlanVersion
from kubesweep_controller.api import CRONJOBS, DEPLOYMENTS, EVENTS, SCALEDOBJECTS, SCHEDULES, SECRETS, Api, Kind
from kubesweep_controller.connection import Connection
from tests.e2e.stage import CHILDREN, Stage, Wire, kubeconfig, now, rules_of_the_chart, staged, until, writes_since
from tests.servers import Server

PARKED = "autoscaling.keda.sh/paused-replicas"


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    server = Server("valkey").start()
    yield server
    server.remove()


@pytest.fixture
async def stage(redis: Server, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(redis, tmp_path) as made:
        yield made


def versions(children: list[dict[str, Any]]) -> list[str]:
    return [each["metadata"]["resourceVersion"] for each in children]


async def family(stage: Stage, name: str = "carts") -> list[dict[str, Any]]:
    return [await stage.child(kind, suffix, name) for kind, suffix in CHILDREN]


async def test_an_applied_schedule_gets_its_children_and_becomes_ready(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    children = await family(stage)
    assert children[0]["spec"]["replicas"] <= 1
    assert await until(lambda: stage.get(SECRETS, "kubesweep-queue"))
    await stage.says("Ready", "Checking")
    await stage.be_the_worker()
    await stage.says("Ready", "Ready")
    assert await stage.condition("SourceReady") == ("True", "Checked")


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
    written = {each.split("/")[0] for each in writes_since(stage, start) if "second" not in each}
    assert written <= {"patch secrets", "patch sweepschedules", "create events"}  # KEDA may have news of its own
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
    await stage.apply(worker={"podTemplate": {"spec": {"containers": [{"name": "worker", "ports": [{"x": 1}]}]}}})
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
    opened = await stage.queue.open_sweep(await stage.ref(), OpenSweep(tick=time.time(), plan=finding.plan))
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


async def test_a_deleted_schedule_leaves_nothing_in_the_queue_and_its_successor_starts_anew(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    await stage.be_the_worker()
    old = await stage.ref()
    await stage.queue.open_sweep(old, OpenSweep(tick=1.0, plan=PlanVersion(1, "x")))
    await stage.api.delete(SCHEDULES, stage.namespace, "carts")
    await stage.apply()

    async def forgotten() -> bool:
        [stats] = await stage.queue.stats([old])
        return not stats.known

    await until(forgotten)
    await stage.says("Ready", "Checking")
    owner = (await stage.child(DEPLOYMENTS, "worker"))["metadata"]["ownerReferences"][0]["uid"]
    assert owner == (await stage.ref()).uid != old.uid


async def test_a_schedule_that_is_deleted_while_no_controller_runs_is_forgotten_later(stage: Stage) -> None:
    first = await stage.start()
    await stage.apply()
    await stage.be_the_worker()
    old = await stage.ref()
    await stage.kill(first)
    await stage.api.delete(SCHEDULES, stage.namespace, "carts")

    async def gone() -> bool:
        return await stage.get(SCHEDULES, "carts") is None

    await until(gone)  # no finalizer keeps it
    await stage.start()

    async def forgotten() -> bool:
        [stats] = await stage.queue.stats([old])
        return not stats.known

    await until(forgotten)


async def test_of_two_controllers_the_other_takes_over_and_no_tick_is_missed_or_doubled(stage: Stage) -> None:
    first = await stage.start("a")
    await stage.apply(schedule=None, every="5s")

    async def ticked(number: int) -> int:
        counts = (await stage.stats()).ticks
        return counts.enqueued + counts.forbidden >= number and counts.duplicate == 0

    await until(lambda: ticked(1))
    await stage.start("b")
    before = (await stage.stats()).last_tick
    await stage.kill(first)
    await until(lambda: ticked(3))
    after = await stage.stats()
    assert before is not None
    assert after.last_tick is not None
    assert after.last_tick > before
    assert after.last_tick % 5 == 0


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(stage: Stage) -> None:
    first = await stage.start("a")
    await stage.apply()
    await stage.says("Ready", "Checking")
    await stage.start("b")
    began = time.monotonic()
    assert await stage.kill(first, signal.SIGTERM) == 0
    await stage.apply("second")
    await stage.says("Ready", "Checking", "second")
    assert time.monotonic() - began < 15.0


async def test_everything_goes_on_when_the_queue_comes_after_the_controller_and_loses_everything(
    stage: Stage, tmp_path: Path
) -> None:
    late = Server("valkey")
    await stage.start(KUBESWEEP_QUEUE=late.url)
    await stage.apply()
    await family(stage)
    await stage.says("Ready", "QueueUnavailable")
    late.start()
    try:
        await stage.says("Ready", "Checking")
        with late.client() as client:
            assert client.keys("{ks:*")
            client.flushall()

            async def asked_again() -> bool:
                return bool(client.keys("{ks:*"))

            await until(asked_again)
    finally:
        late.remove()


async def test_a_queue_that_lets_nobody_make_users_is_said_and_heals(stage: Stage) -> None:
    with stage.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">weak", "~*", "&*", "+@all", "-acl")
        weak = stage.redis.url.replace("//", "//weak:weak@")
        await stage.start(KUBESWEEP_QUEUE=weak, KUBESWEEP_QUEUE_USERS="per-namespace")
        await stage.apply()
        await stage.says("Ready", "QueueUnavailable")
        assert "QueueRights" in await stage.message("Ready")
        client.execute_command("ACL", "SETUSER", "weak", "+acl")
        await stage.says("Ready", "Checking")
        made = f"ks-{(await stage.ref()).install}-{stage.namespace}"
        assert made in client.execute_command("ACL", "USERS")


async def test_the_api_server_may_be_away_for_a_minute(stage: Stage) -> None:
    wire = Wire(stage.at.server)
    await wire.mend()
    path = kubeconfig(stage, server=f"https://127.0.0.1:{wire.port}")
    process = await stage.start(KUBECONFIG=path)
    await stage.apply()
    await stage.says("Ready", "Checking")
    await wire.cut()
    assert await asyncio.wait_for(process.wait(), 60) == 1  # the Lease was lost; its pod would start it again
    await stage.apply("second")
    process = await stage.start(KUBECONFIG=path)
    await until(lambda: _in_log(stage, "cannot take the Lease"))
    await wire.mend()
    await stage.says("Ready", "Checking", "second")
    assert process.returncode is None
    await wire.cut()


async def _in_log(stage: Stage, text: str) -> bool:
    return text in stage.log()


async def test_the_rights_of_the_manifest_are_enough_and_a_token_may_be_replaced(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(await _account(stage, "before"))
    await stage.start(KUBECONFIG=kubeconfig(stage, token_file=str(file)))
    await stage.apply()
    await stage.says("Ready", "Checking")
    file.write_text(await _account(stage, "after"))
    await stage.api.delete(Kind("v1", "ServiceAccount", "serviceaccounts"), stage.namespace, "before")
    await _until_refused(stage, tmp_path)
    await stage.apply("second")
    await stage.says("Ready", "Checking", "second")
    assert "orbidden" not in stage.log()


async def _account(stage: Stage, name: str) -> str:
    """A token of a new ServiceAccount that may do what the manifest says."""
    space = stage.namespace
    rbac = "rbac.authorization.k8s.io/v1"
    meta = {"name": name, "namespace": space}
    await stage.api.create(Kind("v1", "ServiceAccount", "serviceaccounts"), {"metadata": meta})
    role: dict[str, Any] = {
        "metadata": meta,
        "rules": [each for each in rules_of_the_chart() if "nonResourceURLs" not in each],
    }
    for rule in role["rules"]:
        if "leases" in rule["resources"]:
            rule.pop("resourceNames", None)
    await stage.api.create(Kind(rbac, "Role", "roles"), role)
    binding = {
        "metadata": meta,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": space}],
    }
    await stage.api.create(Kind(rbac, "RoleBinding", "rolebindings"), binding)
    asked = Kind("v1", "TokenRequest", f"serviceaccounts/{name}/token")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": meta, "spec": {}}
    answer = await stage.api.create(asked, body)
    (stage.folder / f"token-{name}").write_text(answer["status"]["token"])
    return str(answer["status"]["token"])


async def _until_refused(stage: Stage, folder: Path) -> None:
    """The API server remembers tokens for a few seconds."""
    old = Api(Connection(stage.at.server, stage.at.ca, token_file=str(folder / "token-before")))

    async def refused() -> bool:
        try:
            await old.list(EVENTS, stage.namespace)
        except Exception as error:
            return "nauthorized" in str(error) or getattr(error, "reason", "") == "ApiUnauthorized"
        return False

    await until(refused)
    await old.close()
