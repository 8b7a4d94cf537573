"""Two releases that are both told to serve a namespace: the first does, the other one says that it does not, until the first goes."""

from __future__ import annotations

from typing import Any

from kubesweep.api.plan import Plan
from kubesweep_controller.kube.client import DEPLOYMENTS, SCHEDULES
from tests.kits.controller_environment import Stage, until
from tests.kits.workloads import PYTHON, deployment, pod_spec

FIRST, SECOND = "kubesweep-controller", "second"


def installed(stage: Stage) -> dict[str, Any]:
    """The Deployment that stands for the first release; its controller runs as a process of this test."""
    body: dict[str, Any] = deployment(FIRST, pod_spec(PYTHON, ["sleep", "infinity"]))
    body["metadata"]["namespace"] = stage.namespace
    body["spec"]["replicas"] = 0
    return body


async def test_a_second_release_leaves_a_namespace_to_the_first_until_that_is_gone(stage: Stage) -> None:
    first = await stage.start("a")
    await stage.api.create(DEPLOYMENTS, installed(stage))
    await stage.apply()
    await stage.be_the_worker()
    await stage.says("Ready", "Ready")

    second = await stage.start("b", KUBESWEEP_LEASE_NAME=SECOND)

    async def told() -> bool:
        return "ServedByAnother" in await stage.events()

    await until(told)
    await stage.apply("later")
    await stage.be_the_worker("later")
    await stage.says("Ready", "Ready", "later")
    for name in ("carts", "later"):
        assert await served_by(stage, name) == f"{stage.namespace}/{FIRST}"
        assert await install(stage, name) == (await stage.ref(name)).install

    await stage.kill(first)
    await stage.kill(second)
    await stage.api.delete(DEPLOYMENTS, stage.namespace, FIRST)
    await stage.start("b", KUBESWEEP_LEASE_NAME=SECOND)
    before = (await stage.ref()).install
    for name in ("carts", "later"):

        async def taken_over(name: str = name) -> bool:
            return await served_by(stage, name) == f"{stage.namespace}/{SECOND}"

        await until(taken_over)

        async def rolled(name: str = name) -> bool:
            return await install(stage, name) != before

        await until(rolled)


async def install(stage: Stage, name: str) -> str:
    """Whose plan the workers have, as the queue calls that release."""
    worker = await stage.child(DEPLOYMENTS, "worker", name)
    env = worker["spec"]["template"]["spec"]["containers"][0]["env"]
    (plan,) = [each["value"] for each in env if each["name"] == "KUBESWEEP_PLAN"]
    return Plan.from_json(plan).install


async def served_by(stage: Stage, name: str) -> str:
    body = await stage.get(SCHEDULES, name) or {}
    return str((body.get("status") or {}).get("servedBy", ""))
