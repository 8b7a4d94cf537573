"""Why a worker's pod does not start, as one sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def _of_pod(pod: Mapping[str, Any]) -> str | None:
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return None
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}"
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
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
