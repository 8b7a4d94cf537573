"""A tenant with every right in its namespace and its queue credentials harms its own schedules and no others."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from kubesweep_controller.kube.client import DEPLOYMENTS, SCHEDULES, Kind, Refused
from kubesweep_controller.kube.object_limits import PARSED
from tests.kits.controller_environment import ControllerEnvironment
from tests.kits.polling import until
from tests.kits.rbac import RBAC

LATE = "not-served-yet-"  # prefix of namespaces in which a controller has no rights at first
NAMESPACES = Kind("v1", "Namespace", "namespaces")


@pytest.fixture(autouse=True)
def deep_recursion() -> Iterator[None]:
    """A higher recursion limit, to write and read deeply nested objects."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(PARSED)
    yield
    sys.setrecursionlimit(before)


def nested(levels: int) -> Any:
    inside: Any = 1
    for _ in range(levels):
        inside = {"a": inside}
    return inside


async def until_ticks(env: ControllerEnvironment, name: str, more: int) -> None:
    """Wait until the schedule has ticked ``more`` times."""
    before = (await env.stats(name)).last_tick or 0.0

    async def came() -> bool:
        return ((await env.stats(name)).last_tick or 0.0) >= before + 5.0 * more

    await until(came)


async def test_malformed_objects_and_keys_do_not_stop_the_controller(env: ControllerEnvironment) -> None:
    """Some exist before the controller starts, others are created while it runs."""
    await env.apply("good", schedule=None, every="5s")
    await env.apply("deep", worker={"podTemplate": {"spec": {"affinity": nested(1_100)}}})
    await _deployment_of_year_zero(env, "good")
    with env.redis.client() as client:
        client.hset("{ks:aaaa/attacker/a/b/c}:meta", "uid", "x")
        client.hset(b"{ks:\xff/attacker/a/b}:meta", "uid", "x")
    process = await env.start_controller(restarts=False)
    await env.until_reason("Ready", "Checking", "good")
    await env.until_reason("Ready", "InvalidSpec", "deep")
    assert "nested deeper than 64 levels" in await env.condition_message("Ready", "deep")
    await env.apply("deeper", worker={"podTemplate": {"spec": {"affinity": nested(4_000)}}})
    await env.until_reason("Ready", "InvalidSpec", "deeper")
    await env.apply("later", schedule=None, every="5s")  # still watched
    await env.until_reason("Ready", "Checking", "later")
    await until_ticks(env, "good", 2)
    assert process.returncode is None
    assert "please report it" not in env.controller_log()


async def _deployment_of_year_zero(env: ControllerEnvironment, schedule: str) -> None:
    labels = {"app.kubernetes.io/managed-by": "kubesweep", "kubesweep.dev/schedule": "other"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    meta = {"name": "other-worker", "namespace": env.namespace, "labels": labels}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    await env.api.create(DEPLOYMENTS, {"metadata": meta, "spec": spec})
    entry = {"manager": "kubesweep", "operation": "Update", "apiVersion": "apps/v1", "time": "0000-06-01T00:00:00Z"}
    fields = {"fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}}}

    async def replaced() -> bool:
        made = await env.api.get(DEPLOYMENTS, env.namespace, "other-worker")
        assert made is not None
        made["metadata"]["managedFields"] = [entry | fields]
        try:
            return bool(await env.api.replace(DEPLOYMENTS, made))
        except Refused as refused:  # another write came in between
            if refused.reason != "Conflict":
                raise
            return False

    await until(replaced)


async def test_an_invalid_pod_is_reported_and_the_schedule_still_ticks(env: ControllerEnvironment) -> None:
    process = await env.start_controller(restarts=False)
    await env.apply("good", schedule=None, every="5s")
    await env.until_reason("Ready", "Checking", "good")
    bad = {"podTemplate": {"spec": {"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "512MB"}}]}}}
    await env.apply("good", schedule=None, every="5s", worker=bad)
    await env.until_reason("Ready", "ChildRejected", "good")
    assert "quantities must match" in await env.condition_message("Ready", "good")
    await until_ticks(env, "good", 2)
    await env.apply("good", schedule=None, every="5s", worker={"podTemplate": {"spec": {"containers": "x"}}})
    await env.until_reason("Ready", "InvalidSpec", "good")
    assert "spec.containers: must be a list" in await env.condition_message("Ready", "good")
    await env.apply("good", schedule=None, every="5s")
    await env.until_reason("Ready", "Checking", "good")
    assert process.returncode is None


async def test_special_characters_reach_the_pods_unchanged(env: ControllerEnvironment) -> None:
    """An applied object is parsed as YAML, which needs escapes for some characters that JSON allows."""
    text = "\U0001f600 é \x7f \x85 \u2028 \ufeff \uffff"
    await env.start_controller()
    await env.apply("good", worker={"env": [{"name": "TEXT", "value": text}]})
    await env.until_reason("Ready", "Checking", "good")
    [container] = (await env.child(DEPLOYMENTS, "worker", "good"))["spec"]["template"]["spec"]["containers"]
    assert {"name": "TEXT", "value": text} in container["env"]


async def test_a_missing_namespace_is_served_once_created(env: ControllerEnvironment) -> None:
    late = f"{LATE}{uuid.uuid4().hex[:8]}"
    process = await env.start_controller(restarts=False, KUBESWEEP_NAMESPACES=f"{env.namespace},{late}")
    await env.apply("good", schedule=None, every="5s")
    await env.until_reason("Ready", "Checking", "good")
    await until_ticks(env, "good", 1)
    assert "the namespace is not served" in env.controller_log()
    await env.api.create(NAMESPACES, {"metadata": {"name": late, "namespace": ""}})
    try:
        await _bind(env, late)
        body = {**env.schedule_body("carts"), "metadata": {"name": "carts", "namespace": late}}
        await env.api.apply(SCHEDULES, body)

        async def served() -> bool:
            found = await env.api.get(SCHEDULES, late, "carts")
            return bool(found and (found.get("status") or {}).get("conditions"))

        await until(served)
        await until_ticks(env, "good", 1)
    finally:
        await env.api.delete(NAMESPACES, "", late)
    assert process.returncode is None


async def _bind(env: ControllerEnvironment, namespace: str) -> None:
    """Give the controller the same rights in ``namespace`` as in its own."""
    role = await env.api.get(Kind(f"{RBAC}/v1", "Role", "roles"), env.namespace, "controller")
    assert role is not None
    meta = {"name": "controller", "namespace": namespace}
    await env.api.create(Kind(f"{RBAC}/v1", "Role", "roles"), {"metadata": meta, "rules": role["rules"]})
    subjects = [{"kind": "ServiceAccount", "name": "controller", "namespace": env.namespace}]
    ref = {"apiGroup": RBAC, "kind": "Role", "name": "controller"}
    binding = {"metadata": meta, "roleRef": ref, "subjects": subjects}
    await env.api.create(Kind(f"{RBAC}/v1", "RoleBinding", "rolebindings"), binding)
