"""Why the pod of a short Job does not start: the sentence names the cause and the fix."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_sweep.pods.start_failure import final_failure, why_no_pod, why_not_started


def pending(reason: str = "", message: str = "", **status: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}} if reason else {}
    container = {"name": "worker", "image": "registry.example/shop:2", "state": state}
    return {"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [container], **status}}


@pytest.mark.parametrize(
    ("pod", "sentence"),
    [
        (pending("ImagePullBackOff", "back-off"), "the image registry.example/shop:2 cannot be pulled"),
        (pending("ErrImageNeverPull"), "Set worker.image, or imagePullSecrets"),
        (pending("CreateContainerConfigError", 'secret "app" not found'), "needs an object that does not exist"),
        (
            pending("RunContainerError", "exec: no such file"),
            "the container worker does not start (RunContainerError: exec",
        ),
        (
            pending(
                conditions=[
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ]
            ),
            "no node takes the pod: 0/3 nodes",
        ),
    ],
)
def test_a_pod_that_does_not_start_is_explained(pod: dict[str, Any], sentence: str) -> None:
    assert sentence in why_not_started(pod)


@pytest.mark.parametrize(
    "pod", [pending(), pending("ContainerCreating"), {"metadata": {}, "status": {"phase": "Running"}}, {"metadata": {}}]
)
def test_a_pod_that_starts_has_no_failure(pod: dict[str, Any]) -> None:
    assert (why_not_started(pod), final_failure(pod)) == ("", False)


def test_a_missing_volume_is_in_the_events() -> None:
    event = {"reason": "FailedMount", "note": 'MountVolume.SetUp failed: secret "certs" not found'}
    assert 'secret "certs" not found' in why_not_started(pending("ContainerCreating"), [event])


@pytest.mark.parametrize(
    ("note", "sentence"),
    [
        ('pods "x" is forbidden: exceeded quota: small, requested: cpu=1', "a ResourceQuota refuses the pod"),
        ('pods "x" is forbidden: failed quota: small: must specify limits.cpu', "a ResourceQuota refuses the pod"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "PodSecurity refuses the pod"),
        ('admission webhook "validate.example" denied the request: no label', "an admission policy refuses the pod"),
    ],
)
def test_a_job_without_a_pod_is_explained_by_its_events(note: str, sentence: str) -> None:
    assert sentence in why_no_pod(
        [{"reason": "SuccessfulCreate", "note": ""}, {"reason": "FailedCreate", "note": note}]
    )
    assert why_no_pod([{"reason": "SuccessfulCreate", "note": note}]) == ""


def test_only_what_no_time_changes_is_final() -> None:
    assert final_failure(pending("ErrImageNeverPull"))
    assert not final_failure(pending("ImagePullBackOff"))
