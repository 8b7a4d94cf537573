"""SweepSchedules and the objects around them, in the shapes that an API server sends."""

from __future__ import annotations

from typing import Any

from kubesweep.timestamps import parse_time, time_text

Object = dict[str, Any]
NOW = parse_time("2026-03-01T12:00:00Z") or 0.0
NAMESPACE, NAME = "shop", "close-idle"


def ago(seconds: float) -> str:
    return time_text(NOW - seconds)


def condition(kind: str, status: str, reason: str, message: str = "", seconds: float = 300) -> Object:
    return {
        "type": kind, "status": status, "reason": reason, "message": message or f"{kind} is {status}",
        "lastTransitionTime": ago(seconds), "observedGeneration": 2,
    }  # fmt: skip


GOOD = {
    "Ready": condition("Ready", "True", "Ready"),
    "SourceReady": condition("SourceReady", "True", "Checked"),
    "Autoscaling": condition("Autoscaling", "True", "ScaledByKeda"),
    "Suspended": condition("Suspended", "False", "Active"),
    "Degraded": condition("Degraded", "False", "AsExpected"),
    "Stalled": condition("Stalled", "False", "AsExpected"),
    "KeepingUp": condition("KeepingUp", "True", "KeepingUp"),
}
SWEEP: Object = {
    "id": "9f2c", "tick": ago(600), "mode": "Enforce", "state": "Completed", "reason": "", "startTime": ago(600),
    "completionTime": ago(596), "planned": 100, "applied": 100, "skipped": 0, "unconfirmed": 0, "retrying": 0, "dead": 0,
    "message": "", "capped": False,
}  # fmt: skip


def sweep(**fields: Any) -> Object:
    """A sweep that completed; ``fields`` replaces fields, and None removes one."""
    return {name: value for name, value in (SWEEP | fields).items() if value is not None}


def schedule(*conditions: Object, spec: Object | None = None, meta: Object | None = None, **status: Any) -> Object:
    """A schedule that is well: every 10 minutes, its latest tick completed. Arguments replace parts; None removes one."""
    kinds = GOOD | {each["type"]: each for each in conditions}
    usual = {
        "observedGeneration": 2,
        "conditions": list(kinds.values()),
        "lastScheduleTime": ago(0),
        "lastSuccessfulTime": ago(596),
        "activeSchedule": {"name": "*/10 * * * * (Etc/UTC)", "since": ago(86400)},
        "lastSweep": SWEEP,
        "queue": {"ready": 0, "running": 0, "delayed": 0, "dead": 0},
        "servedBy": "kubesweep/ks-kubesweep",
        "answers": [],
    }
    return {
        "apiVersion": "kubesweep.dev/v1alpha1",
        "kind": "SweepSchedule",
        "metadata": {
            "namespace": NAMESPACE, "name": NAME, "uid": "u-1", "generation": 2, "creationTimestamp": ago(7 * 86400),
            "resourceVersion": "5", **(meta or {}),
        },
        "spec": {
            "schedule": "*/10 * * * *", "timeZone": "Etc/UTC", "suspend": False, "mode": "Enforce",
            "source": {"urlFrom": {"secretKeyRef": {"name": "support-db", "key": "url"}}, "schema": "public", "table": "conversations"},
            "match": [{"column": "status", "in": ["open"]}, {"column": "updated_at", "before": "now-1d"}],
            "write": {"delete": {}},
            **(spec or {}),
        },
        "status": {name: value for name, value in (usual | status).items() if value is not None},
    }  # fmt: skip


def pod(
    component: str = "worker",
    *,
    name: str = "",
    waiting: Object | None = None,
    ended: Object | None = None,
    **status: Any,
) -> Object:
    """A pod whose container waits, or runs."""
    state: Object = {"waiting": waiting} if waiting else {"running": {"startedAt": ago(60)}}
    container = {
        "name": component,
        "image": "registry.example/app:1",
        "restartCount": 7 if ended else 0,
        "state": state,
    }
    if ended:
        container["lastState"] = {"terminated": ended}
    return {
        "metadata": {
            "name": name or f"{NAME}-{component}-x1",
            "namespace": NAMESPACE,
            "labels": {"kubesweep.dev/schedule": NAME, "app.kubernetes.io/component": component},
        },
        "status": {"phase": "Pending" if waiting else "Running", "containerStatuses": [container], **status},
    }


def deployment(replicas: int = 1, ready: int = 0, *conditions: Object) -> Object:
    return {
        "metadata": {"name": f"{NAME}-worker", "namespace": NAMESPACE},
        "spec": {"replicas": replicas},
        "status": {"readyReplicas": ready, "conditions": list(conditions)},
    }


def warning(name: str, reason: str, note: str) -> Object:
    return {"type": "Warning", "reason": reason, "note": note, "regarding": {"name": name}, "eventTime": ago(30)}
