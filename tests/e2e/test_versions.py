"""Two versions of the controller in one cluster. test_pruning_crd.py is about two of the CRD.

The other version is this one with a few words changed, as a process of its own: its plans have a field that nobody uses yet, its
pods a variable, and it has workers of its own.
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
from tests.kits.controller_environment import CHILDREN, Stage, now, until, writes_since

LATER = (
    ("core/kubesweep/api/plan.py", "jobs_per_replica: int = 10", "jobs_per_replica: int = 10\n    later: int = 1"),
    (
        "controller/kubesweep_controller/children/pod.py",
        '{"name": "KUBESWEEP_LOG_LEVEL"',
        '{"name": "KUBESWEEP_LATER", "value": "1"}, {"name": "KUBESWEEP_LOG_LEVEL"',
    ),
)


def later_version(folder: Path) -> str:
    """The path of its modules."""
    for name in ("core", "controller"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, after in LATER:
        file = folder / name
        assert file.read_text().count(before) == 1
        file.write_text(file.read_text().replace(before, after))
    return f"{folder / 'core'}:{folder / 'controller'}"


async def family(stage: Stage) -> list[dict[str, Any]]:
    return [await stage.child(kind, suffix) for kind, suffix in CHILDREN]


async def is_of(stage: Stage, version: str) -> bool:
    """Whether both pod templates are all of one version, and of that one."""
    deployment, cronjob = await stage.child(DEPLOYMENTS, "worker"), await stage.child(CRONJOBS, "tick")
    templates = deployment["spec"]["template"], cronjob["spec"]["jobTemplate"]["spec"]["template"]
    [worker], [producer] = (each["spec"]["containers"] for each in templates)
    seen = {
        (each["image"], any(one["name"] == "KUBESWEEP_LATER" for one in each["env"])) for each in (worker, producer)
    }
    return seen == {(f"worker:{version}", version == "later")}


async def nobody_writes(stage: Stage, nonce: str) -> None:
    """Let the leader look again at everything: no child changes by it."""
    before, start = await family(stage), now()
    order = {"metadata": {"annotations": {"kubesweep.dev/approve": nonce}}}
    await stage.api.patch(SCHEDULES, stage.namespace, "carts", order)

    async def obeyed() -> bool:
        body = await stage.get(SCHEDULES, "carts") or {}
        return bool((body["status"].get("handled") or {}).get("approve") == nonce)

    await until(obeyed)
    # not the resourceVersion: Kubernetes itself may still write the status of a Deployment that changed just before
    generations = [each["metadata"]["generation"] for each in (await family(stage))[:2]]
    assert generations == [each["metadata"]["generation"] for each in before[:2]]
    ours = [str(each) for each in writes_since(stage, start) if each.resource in ("deployments", "cronjobs")]
    assert ours == []


@pytest.mark.bed
async def test_of_two_versions_the_leader_decides_and_no_field_is_fought_over(stage: Stage, tmp_path: Path) -> None:
    path = later_version(tmp_path / "later")
    older = await stage.start("older", KUBESWEEP_WORKER_IMAGE="worker:older")
    await stage.apply()
    await stage.be_the_worker()
    await stage.says("Ready", "Ready")
    [finding] = (await stage.stats()).findings
    sweep = await stage.queue.open_sweep(await stage.ref(), SweepRequest(tick=1.0, plan=finding.plan))
    later = await stage.start("later", KUBESWEEP_WORKER_IMAGE="worker:later", PYTHONPATH=path)
    await until(lambda: _says(stage, "later", "holds the Lease; waiting"))
    await nobody_writes(stage, "1")
    assert await is_of(stage, "older")

    await stage.kill(older, signal.SIGTERM)
    await until(lambda: is_of(stage, "later"))
    older = await stage.start("older", KUBESWEEP_WORKER_IMAGE="worker:older")
    await nobody_writes(stage, "2")
    await stage.api.delete(CRONJOBS, stage.namespace, "carts-tick")
    await until(lambda: is_of(stage, "later"))

    await stage.kill(later)
    await until(lambda: is_of(stage, "older"))
    stats = await stage.stats()
    assert stats.sweep is not None
    assert (stats.sweep.id, stats.sweep.state.settled, stats.history) == (sweep.sweep, False, ())


async def _says(stage: Stage, name: str, words: str) -> bool:
    return any(words in file.read_text() for file in stage.folder.glob(f"{name}-*.log"))
