"""SweepSchedules of a namespace that a release serves: annotate them, and wait for their status, workers and Events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kubesweep.queue.connect import connect
from kubesweep.queue.model import ScheduleRef, Stats
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Namespace, Object
from tests.kits.releases import SCHEDULE, Release, apply


def workers_of(name: str) -> str:
    """The label selector of a schedule's worker pods."""
    return f"kubesweep.dev/schedule={name},app.kubernetes.io/component=worker"


class ScheduleClient:
    """Acts on the schedules of ``namespace``, which ``release`` serves. Every ``until_`` fails at its deadline with what it saw last."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.release = Release(namespace)

    def apply(self, *objects: Object) -> None:
        apply(self.namespace, list(objects))

    def annotate(self, name: str, request: str, nonce: str) -> None:
        """Send a request such as ``trigger``; a new nonce is a new request."""
        words = ("annotate", "--overwrite", "sweepschedule", name, f"kubesweep.dev/{request}={nonce}")
        self.namespace.kubectl(*words)

    def delete(self, name: str) -> None:
        """Delete a schedule and wait until it is gone."""
        self.namespace.kubectl("delete", "sweepschedule", name, f"--timeout={scaled(60):.0f}s")

    def status(self, name: str) -> Object:
        return self.until_status(name, bool, "it has a status")

    def until_status(self, name: str, condition: Callable[[Object], Any], what: str, patience: float = 120) -> Object:
        """The first status for which ``condition`` is true. A status of an earlier generation does not count."""

        def met(found: Object) -> bool:
            status = found.get("status") or {}
            return status.get("observedGeneration") == found["metadata"]["generation"] and bool(condition(status))

        found = self.namespace.until(SCHEDULE, name, met, what=f"{name}: {what}", patience=patience)
        status: Object = found["status"]
        return status

    def until_condition(self, name: str, type_: str, status: str, reason: str = "", patience: float = 120) -> str:
        """Wait for a condition's status and, if given, its reason. Returns its message."""

        def met(found: Object) -> bool:
            one = condition(found, type_)
            return one["status"] == status and reason in ("", one["reason"])

        found = self.until_status(name, met, f"{type_}={status} {reason}", patience)
        return str(condition(found, type_)["message"])

    def until_completed(self, name: str, patience: float = 120) -> Object:
        """Wait until the latest sweep is Completed. Returns ``status.lastSweep``."""

        def met(status: Object) -> bool:
            return bool((status.get("lastSweep") or {}).get("state") == "Completed")

        sweep: Object = self.until_status(name, met, "the sweep is Completed", patience)["lastSweep"]
        return sweep

    def until_no_workers(self, name: str, patience: float = 120) -> None:
        """Wait until the Deployment is scaled to zero and its pods are gone. One that ends may still claim for a moment."""
        worker = f"{name}-worker"

        def none(found: Object) -> bool:
            status = found.get("status") or {}
            return not found["spec"]["replicas"] and not status.get("replicas")

        self.namespace.until("apps/v1 Deployment", worker, none, what=f"{worker} has no replicas", patience=patience)
        self.namespace.until_all(
            "v1 Pod", workers_of(name), lambda found: not found, what=f"{worker} has no pods", patience=patience
        )

    def until_event(self, name: str, reason: str) -> Object:
        """Wait for an Event about the schedule. Fails if there are two of the same reason."""
        found = self.namespace.get(SCHEDULE, name)
        assert found is not None
        uid = found["metadata"]["uid"]

        def about_it(events: list[Object]) -> list[Object]:
            return [one for one in events if one["regarding"].get("uid") == uid and one["reason"] == reason]

        seen = self.namespace.until_all(
            "events.k8s.io/v1 Event",
            "",
            lambda events: bool(about_it(events)),
            what=f"{name} has an Event {reason}",
            patience=120,
        )
        [event] = about_it(seen)
        return event

    def replicas(self, name: str) -> int:
        found = self.namespace.get("apps/v1 Deployment", f"{name}-worker")
        return int(found["spec"]["replicas"]) if found else 0

    def worker_pods(self, name: str) -> list[Object]:
        return self.namespace.all("v1 Pod", workers_of(name))

    def schedule_ref(self, name: str) -> ScheduleRef:
        """The schedule's reference in the queue. The release's Lease gives the install ID."""
        lease = self.namespace.get("coordination.k8s.io/v1 Lease", self.release.fullname)
        schedule = self.namespace.get(SCHEDULE, name)
        assert lease is not None
        assert schedule is not None
        return ScheduleRef(lease["metadata"]["uid"][:8], self.namespace.name, name, schedule["metadata"]["uid"])

    def sweep_started(self, name: str) -> float:
        """When the latest sweep was opened, in Unix seconds, from the queue: the status has whole seconds only."""
        ref = self.schedule_ref(name)

        async def ask(port: int) -> Stats:
            queue = connect(f"redis://:{self.release.password()}@127.0.0.1:{port}/0")
            try:
                (stats,) = await queue.stats([ref])
            finally:
                await queue.close()
            return stats

        with self.namespace.forwarded(f"service/{self.release.fullname}-redis", 6379) as port:
            sweep = asyncio.run(ask(port)).sweep
        assert sweep is not None
        return sweep.started


def condition(status: Object, type_: str) -> Object:
    """A condition of a status; one with the status Unknown where there is none of the type."""
    none = {"type": type_, "status": "Unknown", "reason": "", "message": ""}
    return next((one for one in status.get("conditions") or () if one["type"] == type_), none)
