"""Two releases configured for the same namespace: only the first serves it, and the second reports so until the first is uninstalled."""

from __future__ import annotations

from typing import Any

from kubesweep.api.plan import Plan
from kubesweep_controller.kube.client import DEPLOYMENTS, SCHEDULES
from tests.kits.controller_environment import ControllerEnvironment
from tests.kits.polling import until
from tests.kits.workloads import PYTHON, deployment, pod_spec

FIRST, SECOND = "kubesweep-controller", "second"


def installed(env: ControllerEnvironment) -> dict[str, Any]:
    """The Deployment that identifies the first release. Its controller runs as a process of this test."""
    body: dict[str, Any] = deployment(FIRST, pod_spec(PYTHON, ["sleep", "infinity"]))
    body["metadata"]["namespace"] = env.namespace
    body["spec"]["replicas"] = 0
    return body


async def test_a_second_release_takes_over_a_namespace_only_after_the_first(env: ControllerEnvironment) -> None:
    first = await env.start_controller("a")
    await env.api.create(DEPLOYMENTS, installed(env))
    await env.apply()
    await env.complete_check()
    await env.until_reason("Ready", "Ready")

    second = await env.start_controller("b", KUBESWEEP_LEASE_NAME=SECOND)

    async def reported() -> bool:
        return "ServedByAnother" in await env.event_reasons()

    await until(reported)
    await env.apply("later")
    await env.complete_check("later")
    await env.until_reason("Ready", "Ready", "later")
    for name in ("carts", "later"):
        assert await served_by(env, name) == f"{env.namespace}/{FIRST}"
        assert await install(env, name) == (await env.ref(name)).install

    await env.kill(first)
    await env.kill(second)
    await env.api.delete(DEPLOYMENTS, env.namespace, FIRST)
    await env.start_controller("b", KUBESWEEP_LEASE_NAME=SECOND)
    before = (await env.ref()).install
    for name in ("carts", "later"):

        async def taken_over(name: str = name) -> bool:
            return await served_by(env, name) == f"{env.namespace}/{SECOND}"

        await until(taken_over)

        async def rolled(name: str = name) -> bool:
            return await install(env, name) != before

        await until(rolled)


async def install(env: ControllerEnvironment, name: str) -> str:
    """The install ID of the workers' plan."""
    worker = await env.child(DEPLOYMENTS, "worker", name)
    variables = worker["spec"]["template"]["spec"]["containers"][0]["env"]
    (plan,) = [each["value"] for each in variables if each["name"] == "KUBESWEEP_PLAN"]
    return Plan.from_json(plan).install


async def served_by(env: ControllerEnvironment, name: str) -> str:
    body = await env.get(SCHEDULES, name) or {}
    return str((body.get("status") or {}).get("servedBy", ""))
