"""What the controller keeps of the children that it watches: only the fields that it decides by.

Three hundred schedules are nine hundred objects. Stored whole, they would use most of the controller's memory.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubesweep_controller.children.names import MANAGER, SCHEDULE_LABEL
from kubesweep_controller.children.pod import PLAN_VARIABLE
from kubesweep_controller.children.scaling import PAUSED_REPLICAS

APPLIED_DIGEST = "kubesweep.dev/applied"  # annotation: digest of what was applied last


@dataclass(frozen=True)
class AppliedRevision:
    """If two are equal, the object's spec, owner and labels were not changed in between."""

    uid: str
    generation: int
    owner: str  # uid
    schedule: str
    applied: str
    paused_replicas: str | None


@dataclass(frozen=True)
class ObservedChild:
    """A Deployment or CronJob as it was last observed. Times are seconds since the epoch."""

    name: str
    revision: AppliedRevision
    since: float | None  # when the controller last changed its spec
    plan: str | None  # JSON, from the pod template
    desired: int | None = None
    ready: int = 0
    failure: str | None = None  # of a Deployment: why its pods cannot be created
    cron_last: float | None = None


def applied_revision(body: Mapping[str, Any]) -> AppliedRevision:
    meta = body["metadata"]
    annotations = meta.get("annotations") or {}
    return AppliedRevision(
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        owner=owner_uid(meta),
        schedule=(meta.get("labels") or {}).get(SCHEDULE_LABEL, ""),
        applied=annotations.get(APPLIED_DIGEST, ""),
        paused_replicas=annotations.get(PAUSED_REPLICAS),
    )


def owner_uid(meta: Mapping[str, Any]) -> str:
    """The uid of the controlling owner; empty: none."""
    return next((each["uid"] for each in meta.get("ownerReferences") or () if each.get("controller")), "")


def observe_child(body: Mapping[str, Any]) -> ObservedChild:
    """Extract the fields of a Deployment or a CronJob."""
    meta, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template", {})
    return ObservedChild(
        name=meta["name"],
        revision=applied_revision(body),
        since=seconds(_applied_at(meta) or meta.get("creationTimestamp")),
        plan=_plan(template),
        desired=spec.get("replicas"),
        ready=status.get("readyReplicas") or 0,
        failure=_failure(status),
        cron_last=seconds(status.get("lastScheduleTime")),
    )


def seconds(time: str | None) -> float | None:
    """A time of the API as seconds since the epoch. None also for times without one, such as the year 0, which the API server accepts."""
    try:
        return dt.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() if time else None
    except (ValueError, OverflowError):
        return None


def _applied_at(meta: Mapping[str, Any]) -> str | None:
    entries = [each for each in meta.get("managedFields") or () if each.get("manager") == MANAGER]
    return max((each["time"] for each in entries if not each.get("subresource") and each.get("time")), default=None)


def _plan(template: Mapping[str, Any]) -> str | None:
    containers: Any = (template.get("spec") or {}).get("containers") or ({},)
    env = containers[0].get("env") or ()
    return next((each.get("value") for each in env if each.get("name") == PLAN_VARIABLE), None)


def _failure(status: Mapping[str, Any]) -> str | None:
    found = next((each for each in status.get("conditions") or () if each["type"] == "ReplicaFailure"), None)
    return str(found.get("message", "")) if found and found["status"] == "True" else None
