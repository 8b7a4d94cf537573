"""The Job that runs a program in the workers' pod template: like a worker to policies, unlike one to everything that counts workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_sweep.pods.job_body import DEADLINE, OWN_LABEL, build_job
from kubesweep_controller.children.names import MANAGED_SELECTOR, RELEASE_LABEL, WORKER, selector
from tests.unit.controller.test_children import deployment

SCHEDULE = {"metadata": {"name": "carts", "namespace": "shop", "uid": "u1"}}
PLATFORMS = (Path(__file__).parents[3] / "docs" / "platforms.md").read_text("utf-8")
ARGV = ["kubesweep-worker", "check", "--sql"]


def with_container(**fields: Any) -> dict[str, Any]:
    return deployment(worker={"podTemplate": {"spec": {"containers": [{"name": "worker", **fields}]}}})


def made(template_of: dict[str, Any] | None = None) -> dict[str, Any]:
    return build_job(SCHEDULE, template_of or deployment(), "check", ARGV)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]
    return found


def test_the_program_runs_with_the_workers_environment_mounts_and_security() -> None:
    worker = deployment()["spec"]["template"]["spec"]
    pod = pod_of(made())["spec"]
    assert pod["containers"][0]["command"] == ARGV
    for field in ("image", "env", "volumeMounts", "securityContext", "resources"):
        assert pod["containers"][0][field] == worker["containers"][0][field]
    for field in ("volumes", "securityContext", "automountServiceAccountToken"):
        assert pod[field] == worker[field]


def test_it_ends_by_itself_and_is_deleted_with_its_schedule() -> None:
    job = made()
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] == DEADLINE
    assert job["spec"]["ttlSecondsAfterFinished"] > 0
    assert pod_of(job)["spec"]["restartPolicy"] == "Never"
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
        "SweepSchedule",
        "u1",
        False,
        False,
    )


def test_nothing_that_counts_workers_selects_the_pod_or_the_job() -> None:
    job = made()
    for labels in (job["metadata"]["labels"], pod_of(job)["metadata"]["labels"]):
        assert not matches(selector("carts", WORKER), labels)
        assert labels[OWN_LABEL] == "carts"
        assert RELEASE_LABEL not in labels
    name, _, value = MANAGED_SELECTOR.partition("=")
    assert job["metadata"]["labels"][name] != value
    annotations = pod_of(job)["metadata"]["annotations"]
    assert [each for each in annotations if each.startswith("prometheus.io/")] == []
    assert annotations


def test_the_network_policies_of_the_documentation_select_the_pod_as_they_select_a_worker() -> None:
    text = re.search(r"<!-- objects: network -->\n```yaml\n(.*?)```", PLATFORMS, re.DOTALL)
    assert text is not None
    policies = [each["spec"] for each in yaml.safe_load_all(text[1])]
    workers = [each["podSelector"]["matchLabels"] for each in policies] + [
        source["podSelector"]["matchLabels"]
        for each in policies
        for rule in each.get("ingress") or ()
        for source in rule["from"]
    ]
    ours = [each for each in workers if "app.kubernetes.io/managed-by" in each]
    assert len(ours) == 3
    labels = pod_of(made())["metadata"]["labels"]
    assert [each for each in ours if not matches(each, labels)] == []


def matches(wanted: dict[str, str], labels: dict[str, str]) -> bool:
    return wanted.items() <= labels.items()


@pytest.mark.parametrize(
    "field",
    [
        {"livenessProbe": {"httpGet": {"path": "/", "port": 80}}},
        {"readinessProbe": {"httpGet": {"path": "/", "port": 80}}},
        {"lifecycle": {"preStop": {"sleep": {"seconds": 600}}}},
        {"ports": [{"containerPort": 80}]},
    ],
)
def test_what_only_a_worker_needs_is_left_out(field: dict[str, Any]) -> None:
    assert not set(field) & set(pod_of(made(with_container(**field)))["spec"]["containers"][0])


def test_the_deployment_is_not_changed() -> None:
    before, given = deployment(), deployment()
    made(given)
    assert given == before


def test_two_jobs_have_two_names_that_a_cluster_accepts() -> None:
    schedule = {"metadata": {"name": "a" * 45, "namespace": "shop", "uid": "u1"}}
    names = {build_job(schedule, deployment(), "check", ARGV)["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert [each for each in names if len(each) > 63] == []


def test_a_template_without_a_worker_is_refused() -> None:
    given = deployment()
    given["spec"]["template"]["spec"]["containers"][0]["name"] = "other"
    with pytest.raises(ValueError, match="no container worker"):
        made(given)
