"""Two versions of the controller in one cluster. test_pruning_crd.py covers two versions of the CRD.

The later version is a patched copy of this one in a process of its own: its plans have a new field, its pods a new variable, and its worker image
another tag.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from kubesweep.queue.model import SweepRequest
from kubesweep_controller.kube.client import CRONJOBS, DEPLOYMENTS, SCHEDULES
from tests.cluster.testbed import REPOSITORY
from tests.kits.controller_environment import CHILDREN, ControllerEnvironment, now, writes_since
from tests.kits.polling import until

LATER = (
    ("core/kubesweep/api/plan.py", "jobs_per_replica: int = 10", "jobs_per_replica: int = 10\n    later: int = 1"),
    (
        "controller/kubesweep_controller/children/pod.py",
        '{"name": "KUBESWEEP_LOG_LEVEL"',
        '{"name": "KUBESWEEP_LATER", "value": "1"}, {"name": "KUBESWEEP_LOG_LEVEL"',
    ),
)


def later_version(folder: Path) -> str:
    """Write a patched copy of the modules. Returns its PYTHONPATH."""
    for name in ("core", "controller"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, after in LATER:
        file = folder / name
        assert file.read_text().count(before) == 1
        file.write_text(file.read_text().replace(before, after))
    return f"{folder / 'core'}:{folder / 'controller'}"


async def children(env: ControllerEnvironment) -> list[dict[str, Any]]:
    return [await env.child(kind, suffix) for kind, suffix in CHILDREN]


async def is_of(env: ControllerEnvironment, version: str) -> bool:
    """Whether both pod templates are completely of this version."""
    deployment, cronjob = await env.child(DEPLOYMENTS, "worker"), await env.child(CRONJOBS, "tick")
    templates = deployment["spec"]["template"], cronjob["spec"]["jobTemplate"]["spec"]["template"]
    [worker], [producer] = (each["spec"]["containers"] for each in templates)
    seen = {
        (each["image"], any(one["name"] == "KUBESWEEP_LATER" for one in each["env"])) for each in (worker, producer)
    }
    return seen == {(f"worker:{version}", version == "later")}


async def assert_nothing_written(env: ControllerEnvironment, nonce: str) -> None:
    """Make the leader reconcile, and check that it changes no child."""
    before, start = await children(env), now()
    request = {"metadata": {"annotations": {"kubesweep.dev/approve": nonce}}}
    await env.api.patch(SCHEDULES, env.namespace, "carts", request)

    async def handled() -> bool:
        body = await env.get(SCHEDULES, "carts") or {}
        return bool((body["status"].get("handled") or {}).get("approve") == nonce)

    await until(handled)
    # not the resourceVersion, because Kubernetes may still write the Deployment's status
    generations = [each["metadata"]["generation"] for each in (await children(env))[:2]]
    assert generations == [each["metadata"]["generation"] for each in before[:2]]
    ours = [str(each) for each in writes_since(env, start) if each.resource in ("deployments", "cronjobs")]
    assert ours == []


@pytest.mark.bed
async def test_only_the_leader_of_two_versions_writes(env: ControllerEnvironment, tmp_path: Path) -> None:
    path = later_version(tmp_path / "later")
    older = await env.start_controller("older", KUBESWEEP_WORKER_IMAGE="worker:older")
    await env.apply()
    await env.complete_check()
    await env.until_reason("Ready", "Ready")
    [finding] = (await env.stats()).findings
    sweep = await env.queue.open_sweep(await env.ref(), SweepRequest(tick=1.0, plan=finding.plan))
    later = await env.start_controller("later", KUBESWEEP_WORKER_IMAGE="worker:later", PYTHONPATH=path)
    await until(lambda: _has_logged(env, "later", "holds the Lease; waiting"))
    await assert_nothing_written(env, "1")
    assert await is_of(env, "older")

    await env.kill(older, signal.SIGTERM)
    await until(lambda: is_of(env, "later"))
    older = await env.start_controller("older", KUBESWEEP_WORKER_IMAGE="worker:older")
    await assert_nothing_written(env, "2")
    await env.api.delete(CRONJOBS, env.namespace, "carts-tick")
    await until(lambda: is_of(env, "later"))

    await env.kill(later)
    await until(lambda: is_of(env, "older"))
    stats = await env.stats()
    assert stats.sweep is not None
    assert (stats.sweep.id, stats.sweep.state.settled, stats.history) == (sweep.sweep, False, ())


async def _has_logged(env: ControllerEnvironment, name: str, words: str) -> bool:
    return any(words in file.read_text() for file in env.folder.glob(f"{name}-*.log"))
