"""Admission policies: the controller creates every Deployment complete, and reports a denial until the policy is gone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from kubesweep_controller.kube.client import CRONJOBS, DEPLOYMENTS, PODS, Kind
from tests.kits.controller_environment import ControllerEnvironment
from tests.kits.polling import until

ADMISSION = "admissionregistration.k8s.io/v1"
POLICIES = Kind(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies")
BINDINGS = Kind(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
REPLICASETS = Kind("apps/v1", "ReplicaSet", "replicasets")
SPEC = "object.spec.template.spec"
RESTRICTED = (
    f"has({SPEC}.securityContext) && has({SPEC}.securityContext.runAsNonRoot) && {SPEC}.securityContext.runAsNonRoot",
    f"{SPEC}.containers.all(c, has(c.securityContext) && has(c.securityContext.allowPrivilegeEscalation))",
    f"{SPEC}.containers.all(c, has(c.resources) && has(c.resources.requests))",
)


@asynccontextmanager
async def policy(env: ControllerEnvironment, *expressions: str) -> AsyncIterator[None]:
    """A policy for this namespace's Deployments. Entry and exit wait until the API server enforces it, or no longer does."""
    meta = {"name": env.namespace, "namespace": ""}
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }
    checks = [{"expression": each, "message": f"the policy requires {each}"[:200]} for each in expressions]
    # A Deployment with this name is always denied, which shows that the policy is enforced.
    checks.append({"expression": "object.metadata.name != 'probe'", "message": "probe"})
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": checks, "failurePolicy": "Fail"}
    await env.api.create(POLICIES, {"metadata": meta, "spec": spec})
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": env.namespace}}}
    binding = {"policyName": env.namespace, "validationActions": ["Deny"], "matchResources": here}
    await env.api.create(BINDINGS, {"metadata": meta, "spec": binding})
    await until(lambda: denied(env))
    try:
        yield
    finally:
        await env.api.delete(BINDINGS, "", env.namespace)
        await env.api.delete(POLICIES, "", env.namespace)

        async def removed() -> bool:
            return not await denied(env)

        await until(removed)


async def denied(env: ControllerEnvironment) -> bool:
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": pod}
    try:
        await env.api.create(DEPLOYMENTS, {"metadata": {"name": "probe", "namespace": env.namespace}, "spec": spec})
    except Exception as error:
        return "probe" in str(error)
    await env.api.delete(DEPLOYMENTS, env.namespace, "probe")
    return False


async def test_a_deployment_is_created_complete_and_without_pods(env: ControllerEnvironment) -> None:
    await env.start_controller()
    async with policy(env, *RESTRICTED):
        await env.apply(worker={"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]})
        await env.until_reason("Ready", "Checking")
        made = await env.child(DEPLOYMENTS, "worker")
        assert made["spec"]["replicas"] == 0
        assert await replicas_of(env, made) in ([], [0])
    await env.api.patch(DEPLOYMENTS, env.namespace, "carts-worker", {"spec": {"replicas": 3}}, "scale")
    await env.apply(worker={"env": [{"name": "A", "value": "1"}]})

    async def without() -> bool:
        return "B" not in {each["name"] for each in await worker_env(env)}

    await until(without)  # a removed field is deleted, although the Deployment was created with it
    made = await env.child(DEPLOYMENTS, "worker")
    assert made["spec"]["replicas"] == 3
    managers = {(each["manager"], each["operation"]) for each in made["metadata"]["managedFields"]}
    assert ("kubesweep", "Apply") in managers


async def replicas_of(env: ControllerEnvironment, deployment: dict[str, Any]) -> list[int]:
    """Of its ReplicaSets. Those of a probe may still be there, until they are garbage."""
    found = await env.api.list(REPLICASETS, env.namespace)
    own = [each for each in found if each["metadata"]["ownerReferences"][0]["uid"] == deployment["metadata"]["uid"]]
    return [each["spec"]["replicas"] for each in own]


async def worker_env(env: ControllerEnvironment) -> list[dict[str, Any]]:
    made = await env.child(DEPLOYMENTS, "worker")
    found: list[dict[str, Any]] = made["spec"]["template"]["spec"]["containers"][0]["env"]
    return found


async def test_a_policys_denial_is_reported_and_ends_without_an_edit(env: ControllerEnvironment) -> None:
    await env.start_controller()
    async with policy(env, "has(object.metadata.labels) && 'team' in object.metadata.labels"):
        await env.apply()
        await env.until_reason("Ready", "WorkerStuck")
        assert "denied request: the policy requires" in await env.condition_message("Ready")
        assert await env.condition("Stalled") == ("False", "AsExpected")
    await env.until_reason("Ready", "Checking", seconds=120)
    assert await env.api.list(PODS, env.namespace) == []


async def test_worker_defaults_satisfy_a_policy_and_their_edit_rolls_out(
    env: ControllerEnvironment,
) -> None:
    async def limits(kind: Kind, suffix: str) -> Any:
        spec = (await env.child(kind, suffix))["spec"]
        pod = spec["template"] if kind is DEPLOYMENTS else spec["jobTemplate"]["spec"]["template"]
        return pod["spec"]["containers"][0]["resources"].get("limits")

    controller = await env.start_controller()
    async with policy(env, f"{SPEC}.containers.all(c, has(c.resources.limits) && 'cpu' in c.resources.limits)"):
        await env.apply()
        await env.until_reason("Ready", "WorkerStuck")
        for cpu in ("300m", "400m"):
            await env.kill(controller)
            sizes = {"resources": {"limits": {"cpu": cpu}}}
            controller = await env.start_controller(KUBESWEEP_WORKER_DEFAULTS=json.dumps({**sizes, "tick": sizes}))

            async def rolled_out(wanted: dict[str, str]) -> bool:
                return [await limits(DEPLOYMENTS, "worker"), await limits(CRONJOBS, "tick")] == [wanted, wanted]

            await until(partial(rolled_out, {"cpu": cpu}))
    await env.until_reason("Ready", "Checking", seconds=120)
