"""The kinds of objects that the commands read and write, with their paths in the API."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

__all__ = [
    "CRDS", "CRONJOBS", "DEPLOYMENTS", "EVENTS", "HPAS", "JOBS", "LEASES", "NAMESPACES", "PODS", "SCALEDOBJECTS", "SCHEDULES", "SECRETS",
    "Kind", "Ref",
]  # fmt: skip


class Ref(NamedTuple):
    """One SweepSchedule."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Kind(NamedTuple):
    """``version`` with the group, such as ``apps/v1``; ``plural`` as in a path and in a Role."""

    version: str
    plural: str
    kind: str

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """``namespace`` None: of all namespaces, or of a kind that has none."""
        root = f"/apis/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        one = f"/{quote(name, safe='')}" if name else ""
        return f"{root}{within}/{self.plural}{one}" + (f"/{subresource}" if subresource else "")


SCHEDULES = Kind("kubesweep.dev/v1alpha1", "sweepschedules", "SweepSchedule")
PODS = Kind("v1", "pods", "Pod")
NAMESPACES = Kind("v1", "namespaces", "Namespace")
SECRETS = Kind("v1", "secrets", "Secret")
DEPLOYMENTS = Kind("apps/v1", "deployments", "Deployment")
CRONJOBS = Kind("batch/v1", "cronjobs", "CronJob")
JOBS = Kind("batch/v1", "jobs", "Job")
EVENTS = Kind("events.k8s.io/v1", "events", "Event")
HPAS = Kind("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
SCALEDOBJECTS = Kind("keda.sh/v1alpha1", "scaledobjects", "ScaledObject")
LEASES = Kind("coordination.k8s.io/v1", "leases", "Lease")
CRDS = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition")
