"""Reads what a report has. What the user may not read, or what does not answer, is recorded and left out: a report is needed when things fail."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from kubectl_sweep.cluster.client import Cluster
from kubectl_sweep.cluster.kinds import CRDS, CRONJOBS, DEPLOYMENTS, EVENTS, HPAS, JOBS, PODS, SCALEDOBJECTS, Kind
from kubectl_sweep.cluster.transport import Object
from kubectl_sweep.pods.job_body import worker_name
from kubectl_sweep.report.contents import Contents
from kubesweep.errors import KubesweepError

__all__ = ["LOGGED", "collect", "names_in"]

CHILDREN = (DEPLOYMENTS, CRONJOBS, JOBS, PODS, SCALEDOBJECTS)
SCHEDULE_LABEL = "kubesweep.dev/schedule"
MANAGED = "app.kubernetes.io/managed-by=kubesweep"
CRD = "sweepschedules.kubesweep.dev"
TAIL = 1000  # lines of each log
PODS_OF_ONE = 12  # logs of a schedule: those of its newest pods
LOGGED = 20  # schedules whose logs are read, where the report has more
PROBLEMS = {"Ready": "False", "SourceReady": "False", "Degraded": "True", "Stalled": "True", "KeepingUp": "False"}


def collect(
    cluster: Cluster, schedules: Sequence[Object], say: Callable[[str], None], why: Callable[[Object], str]
) -> Contents:
    """``why``: the diagnosis of one schedule, as text."""
    collector = _Collector(cluster, Contents(), say)
    collector.versions(schedules)
    namespaces = sorted({each["metadata"]["namespace"] for each in schedules})
    logged = (
        list(schedules) if len(schedules) <= LOGGED else [each for each in schedules if _has_problem(each)][:LOGGED]
    )
    if len(logged) < len(schedules):
        collector.contents.missing.append(
            (
                f"logs of {len(schedules) - len(logged)} schedules",
                f"with more than {LOGGED} schedules only those with a problem have logs",
            )
        )
    chosen = {each["metadata"]["uid"] for each in logged}
    for namespace in namespaces:
        own = [each for each in schedules if each["metadata"]["namespace"] == namespace]
        collector.namespace(namespace, own, chosen, why)
    return collector.contents


def names_in(contents: Contents) -> list[str]:
    """The names of all objects and namespaces in it."""
    found: set[str] = set()
    for value in contents.objects.values():
        for each in value if isinstance(value, list) else [value]:
            meta = each.get("metadata") if isinstance(each, Mapping) else None
            if isinstance(meta, Mapping):
                found |= {str(meta.get("name")), str(meta.get("namespace"))}
    return sorted(found)


def _has_problem(schedule: Mapping[str, Any]) -> bool:
    conditions = (schedule.get("status") or {}).get("conditions") or ()
    return any(PROBLEMS.get(each.get("type")) == each.get("status") for each in conditions)


class _Collector:
    def __init__(self, cluster: Cluster, contents: Contents, say: Callable[[str], None]) -> None:
        self.cluster, self.contents, self.say = cluster, contents, say

    def tried(self, what: str, read: Callable[[], Any], otherwise: Any) -> Any:
        """What ``read`` returns; ``otherwise`` where it is refused or gets no answer."""
        try:
            return read()
        except KubesweepError as error:
            self.contents.missing.append((what, str(error)))
            return otherwise

    def versions(self, schedules: Sequence[Object]) -> None:
        client = {name: _version(name) for name in ("kubesweep", "kubernetes")}
        found: Object = {"client": {**client, "python": platform.python_version(), "system": platform.platform()}}
        found["server"] = self.tried("the version of the API server", self.cluster.version, {})
        crd = self.tried("the CRD", lambda: self.cluster.get(CRDS, None, CRD), None)
        if crd is not None:
            self.contents.objects["cluster/crd.json"] = {"metadata": crd["metadata"], "status": crd.get("status")}
        found["keda"] = self.tried(
            "KEDA", lambda: _images(self.cluster.list(DEPLOYMENTS, None, "app.kubernetes.io/name=keda-operator")), []
        )
        releases = sorted({str((each.get("status") or {}).get("servedBy") or "") for each in schedules} - {""})
        found["releases"] = {each: self.controller(each) for each in releases}
        self.contents.objects["versions.json"] = found

    def controller(self, release: str) -> list[str]:
        """Its Deployment, pods and logs. Returns its images."""
        namespace, _, name = release.partition("/")
        deployment = self.tried(
            f"the controller {release}", lambda: self.cluster.get(DEPLOYMENTS, namespace, name), None
        )
        if deployment is None:
            return []
        place = f"controller/{namespace}"
        self.contents.objects[f"{place}/deployment.json"] = deployment
        labels = (deployment["spec"].get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = self.tried(f"pods of the controller {release}", lambda: self.cluster.pods(namespace, selector), [])
        self.contents.objects[f"{place}/pods.json"] = pods
        self.logs(place, namespace, pods)
        return _images([deployment])

    def namespace(
        self, namespace: str, schedules: Sequence[Object], logged: set[str], why: Callable[[Object], str]
    ) -> None:
        """The schedules of one namespace with their children. One list of each kind serves all of them."""
        self.say(f"Reading {namespace} ...")
        children = {kind: self._list(kind, namespace, MANAGED) for kind in CHILDREN}
        hpas, events = self._list(HPAS, namespace), self._list(EVENTS, namespace)
        for each in schedules:
            name = each["metadata"]["name"]
            place = f"schedules/{namespace}/{name}"
            self.contents.objects[f"{place}/sweepschedule.json"] = each
            known = {name}
            for kind, found in children.items():
                own = [child for child in found if (child["metadata"].get("labels") or {}).get(SCHEDULE_LABEL) == name]
                known |= {child["metadata"]["name"] for child in own}
                if own:
                    self.contents.objects[f"{place}/{kind.plural}.json"] = own
            scaled = [
                hpa
                for hpa in hpas
                if ((hpa.get("spec") or {}).get("scaleTargetRef") or {}).get("name") == worker_name(name)
            ]
            if scaled:
                known |= {hpa["metadata"]["name"] for hpa in scaled}
                self.contents.objects[f"{place}/{HPAS.plural}.json"] = scaled
            self.contents.objects[f"{place}/{EVENTS.plural}.json"] = [
                event for event in events if _about(event, known, name)
            ]
            self.contents.texts[f"{place}/why.txt"] = self.tried(f"why of {namespace}/{name}", lambda: why(each), "")  # noqa: B023
            if each["metadata"]["uid"] in logged:
                self.logs(place, namespace, _newest(self.contents.objects.get(f"{place}/{PODS.plural}.json") or []))

    def _list(self, kind: Kind, namespace: str, selector: str = "") -> list[Object]:
        what = f"{kind.plural} of namespace {namespace}"
        found: list[Object] = self.tried(what, lambda: self.cluster.list(kind, namespace, selector), [])
        return found

    def logs(self, place: str, namespace: str, pods: Sequence[Object]) -> None:
        for pod in pods:
            name = pod["metadata"]["name"]
            status = pod.get("status") or {}
            for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
                self._log(f"{place}/logs/{name}.{each['name']}.log", namespace, name, each["name"], previous=False)
                if each.get("restartCount"):
                    self._log(
                        f"{place}/logs/{name}.{each['name']}.previous.log", namespace, name, each["name"], previous=True
                    )

    def _log(self, path: str, namespace: str, pod: str, container: str, *, previous: bool) -> None:
        def read() -> str:
            lines = self.cluster.logs(namespace, pod, container, tail=TAIL, previous=previous)
            return b"\n".join(lines).decode(errors="replace")

        text = self.tried(path, read, "")
        if text:
            self.contents.logs[path] = text


def _about(event: Mapping[str, Any], names: set[str], schedule: str) -> bool:
    about = str((event.get("regarding") or {}).get("name") or "")
    return about in names or about.startswith((f"{worker_name(schedule)}-", f"{schedule}-tick-"))


def _newest(pods: Sequence[Object]) -> list[Object]:
    return sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", "")))[-PODS_OF_ONE:]


def _images(deployments: Sequence[Object]) -> list[str]:
    return sorted(
        {str(each.get("image")) for one in deployments for each in one["spec"]["template"]["spec"]["containers"]}
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
