"""What the pod of a short Job says about its program: its exit code, or why it has none."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_sweep.pods.outcome import exit_code, failure
from kubectl_sweep.pods.program import newest_worker


def pod(terminated: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    state = {"terminated": terminated} if terminated else {"running": {}}
    containers = [{"name": "proxy", "state": {"running": {}}}, {"name": "worker", "state": state}]
    spec = {"containers": [{"name": "worker", "image": "registry.example/shop:1"}]}
    return {"metadata": {"name": "p"}, "spec": spec, "status": {"containerStatuses": containers, **status}}


@pytest.mark.parametrize("code", [0, 1, 2, 3, 137])
def test_the_exit_code_is_that_of_the_workers_container_even_while_others_run(code: int) -> None:
    found = pod({"exitCode": code, "reason": "Completed"})
    assert (exit_code(found), failure(found)) == (code, "")


def test_a_program_that_runs_has_neither_a_code_nor_a_failure() -> None:
    assert (exit_code(pod()), failure(pod())) == (None, "")
    assert (exit_code({"metadata": {}}), failure({"metadata": {}})) == (None, "")


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (pod({"exitCode": 128, "reason": "StartError", "message": "no such file"}), "the image registry.example/shop:1 cannot run"),
        (pod({"exitCode": 137, "reason": "OOMKilled"}), "needs more memory than its limit"),
        (pod(phase="Failed", reason="DeadlineExceeded"), "the Job's deadline has passed"),
        (pod(phase="Failed", reason="Evicted", message="low on memory"), "the pod failed: Evicted low on memory"),
        (
            pod(initContainerStatuses=[{"name": "table", "state": {"terminated": {"exitCode": 3}}}]),
            "the init container table failed with exit code 3",
        ),
    ],
)  # fmt: skip
def test_a_program_without_an_exit_code_of_its_own_is_explained(found: dict[str, Any], sentence: str) -> None:
    assert sentence in failure(found)
    assert exit_code(found) is None


def worker(name: str, *, ready: str = "True", created: str = "2026-03-01T12:00:00Z", **meta: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}]
    return {
        "metadata": {"name": name, "creationTimestamp": created, **meta},
        "status": {"phase": "Running", "conditions": conditions},
    }


def test_a_program_runs_in_the_newest_worker_that_is_ready_and_stays() -> None:
    pods = [
        worker("old"),
        worker("new", created="2026-03-01T12:05:00Z"),
        worker("starts", ready="False", created="2026-03-01T12:10:00Z"),
        worker("leaves", created="2026-03-01T12:15:00Z", deletionTimestamp="2026-03-01T12:20:00Z"),
        {"metadata": {"name": "pending"}},
    ]
    assert newest_worker(pods) == "new"
    assert newest_worker(pods[2:]) is None
