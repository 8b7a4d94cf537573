"""Why the pod of a short Job does not start, as one sentence with what to do. Pure.

Three places have the reason: the Job's Events, if no pod could be created; the pod's condition, if no node takes it; and the state of its
containers, if the kubelet cannot start them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["final_failure", "why_no_pod", "why_not_started"]

_STARTING = ("", "ContainerCreating", "PodInitializing")
# The kubelet repeats these until somebody changes something, so waiting for longer does not help.
_FINAL = (
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)
_PULL = (
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "ImageInspectError",
    "InvalidImageName",
    "ErrImageNeverPull",
)


def why_no_pod(events: Iterable[Mapping[str, Any]]) -> str:
    """From the Events about the Job; empty: nothing prevents its pod."""
    for each in events:
        if each.get("reason") != "FailedCreate":
            continue
        text = str(each.get("note") or each.get("message") or "")
        lower = text.lower()
        if "exceeded quota" in lower or "must specify" in lower:
            return f"a ResourceQuota refuses the pod: {text}. Raise the quota, or set worker.resources of the schedule."
        if "violates podsecurity" in lower:
            return f"PodSecurity refuses the pod: {text}. Its template is the workers' own: see worker.podTemplate."
        return f"an admission policy refuses the pod: {text}."
    return ""


def why_not_started(pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]] = ()) -> str:
    """Why the pod does not run yet; empty: it starts, runs or has ended. ``events``: those about the pod."""
    status = pod.get("status") or {}
    if status.get("phase") not in (None, "", "Pending"):
        return ""
    for each in status.get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return f"no node takes the pod: {each.get('message') or each.get('reason')}."
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if (reason := waiting.get("reason") or "") not in _STARTING:
            return _of_container(container, reason, str(waiting.get("message") or ""))
    for event in events:
        if event.get("reason") in ("FailedMount", "FailedAttachVolume"):
            text = event.get("note") or event.get("message")
            return f"a volume of the pod cannot be mounted: {text}. Create the Secret or ConfigMap that it names."
    return ""


def final_failure(pod: Mapping[str, Any]) -> bool:
    """Whether the pod can never start without an edit."""
    status = pod.get("status") or {}
    reasons = {((each.get("state") or {}).get("waiting") or {}).get("reason") for each in _containers(status)}
    return bool(reasons & set(_FINAL))


def _of_container(container: Mapping[str, Any], reason: str, message: str) -> str:
    text = f"{reason}: {message}" if message else reason
    if reason in _PULL:
        return (
            f"the image {container.get('image')} cannot be pulled ({text}). "
            "Set worker.image, or imagePullSecrets in worker.podTemplate."
        )
    if "secret" in message.lower() or "configmap" in message.lower():
        return f"the pod needs an object that does not exist ({text}). Create it in this namespace."
    return f"the container {container.get('name')} does not start ({text})."


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
