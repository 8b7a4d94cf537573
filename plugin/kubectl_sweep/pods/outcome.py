"""What the pod of a short Job says: it starts, runs, has ended, or failed in another way than its program did. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubectl_sweep.pods.job_body import CONTAINER

__all__ = ["exit_code", "failure"]

_NO_START = ("StartError", "ContainerCannotRun")


def exit_code(pod: Mapping[str, Any]) -> int | None:
    """Of the program; None while it has not ended. Other containers may still run."""
    ended = _terminated(pod)
    if ended is None or ended.get("reason") in (*_NO_START, "OOMKilled"):
        return None
    return int(ended.get("exitCode", 1))


def failure(pod: Mapping[str, Any]) -> str:
    """Why the program has no exit code of its own, with what to do; empty: it may still get one."""
    status = pod.get("status") or {}
    ended = _terminated(pod)
    if ended is not None:
        reason, message = ended.get("reason"), str(ended.get("message") or "").strip()
        if reason in _NO_START:
            return (
                f"the image {_image(pod)} cannot run kubesweep-worker: {message}. "
                "Build it with this version of Kubesweep:  pip install 'kubesweep[worker]'"
            )
        if reason == "OOMKilled":
            return "the program needs more memory than its limit: raise worker.resources.limits.memory of the schedule"
        return ""
    if status.get("reason") == "DeadlineExceeded":
        return "the Job's deadline has passed before its program ended"
    for each in status.get("initContainerStatuses") or ():
        init = (each.get("state") or {}).get("terminated") or {}
        if init.get("exitCode"):
            return f"the init container {each.get('name')} failed with exit code {init['exitCode']}: see its log in a worker's pod"
    if status.get("phase") == "Failed":
        return f"the pod failed: {status.get('reason') or 'no reason'} {status.get('message') or ''}".rstrip()
    return ""


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for each in (pod.get("status") or {}).get("containerStatuses") or ():
        if each.get("name") == CONTAINER:
            found: Mapping[str, Any] | None = (each.get("state") or {}).get("terminated")
            return found
    return None


def _image(pod: Mapping[str, Any]) -> str:
    containers = (pod.get("spec") or {}).get("containers") or ()
    return next((str(each.get("image")) for each in containers if each.get("name") == CONTAINER), "of the worker")
