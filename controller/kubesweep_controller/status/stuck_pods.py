"""Why a worker's pod does not start, as one sentence, and whether it crashes again and again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kubesweep_controller.children.observed import ObservedChild

_FINE = ("ContainerCreating", "PodInitializing", "")


def why_stuck(deployment: ObservedChild | None, pods: Iterable[Mapping[str, Any]]) -> str | None:
    """None: no problem is known, or all desired pods are ready."""
    if deployment is None or (deployment.desired or 0) <= deployment.ready:
        return None
    for pod in pods:
        if sentence := _of_pod(pod):
            return f"pod {pod['metadata']['name']}: {sentence}"
    return deployment.failure


def crash_loop(pods: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the kubelet delays the next start of a container because it crashed before."""
    containers = (each for pod in pods if "deletionTimestamp" not in pod["metadata"] for each in _containers(pod))
    return any((each.get("state") or {}).get("waiting", {}).get("reason") == "CrashLoopBackOff" for each in containers)


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    yield from (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def _of_pod(pod: Mapping[str, Any]) -> str | None:
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return None
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}"
    for each in _containers(pod):
        waiting = (each.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason", "") not in _FINE:
            return f"{waiting['reason']}: {waiting.get('message', '')}{_last_end(each)}".rstrip(": ")
    return None


def _last_end(container: Mapping[str, Any]) -> str:
    ended = (container.get("lastState") or {}).get("terminated")
    if not ended:
        return ""
    return (
        f" (it exited with code {ended.get('exitCode')}, {ended.get('reason', 'Error')}; see kubectl logs --previous)"
    )
