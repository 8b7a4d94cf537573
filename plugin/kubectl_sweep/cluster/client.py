"""The cluster as the commands see it: schedules, their children, pods, logs, and programs in pods.

Objects are plain dictionaries, as the API server sent them. A missing object is None where that is an answer, and an error where a
person named it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kubectl_sweep.cluster.answers import Command, find_answer
from kubectl_sweep.cluster.errors import ApiRefused, Right, Unanswered, UnknownSchedule, not_installed
from kubectl_sweep.cluster.exec import ExecResult, run_in_pod
from kubectl_sweep.cluster.kinds import PODS, SCHEDULES, Kind, Ref
from kubectl_sweep.cluster.options import ClusterOptions
from kubectl_sweep.cluster.transport import APPLY_PATCH, MERGE_PATCH, Object, Transport
from kubectl_sweep.cluster.watch import Change, Source, follow
from kubesweep.errors import KubesweepError, SpecError
from kubesweep.text import nearest_name

__all__ = ["Cluster", "connect"]

Objects = list[Object]

PAGE = 500  # objects of one answer: 1,000 schedules are some ten megabytes
MISSING = 404
SHOWN_NAMES = 10


def connect(options: ClusterOptions) -> Cluster:
    """Log in as the kubeconfig says. Sends no request yet. Raises SpecError and Outage."""
    from kubectl_sweep.cluster.kubeconfig import load

    api, namespace = load(options)
    return Cluster(Transport(api, options), options.namespace or namespace)


class Cluster:
    """``namespace`` is the one of the option ``-n``, else of the context."""

    def __init__(self, transport: Transport, namespace: str, pause: Callable[[float], None] = time.sleep) -> None:
        self.transport = transport
        self.namespace = namespace
        self._pause = pause  # between two watches

    # schedules

    def schedules(self, namespace: str | None, selector: str = "") -> Objects:
        """All schedules of a namespace; None: of all namespaces. Raises SpecError (NotInstalled) in a cluster without the CRD."""
        return self.listed_schedules(namespace, selector)[0]

    def listed_schedules(self, namespace: str | None, selector: str = "", name: str = "") -> tuple[Objects, str]:
        """The schedules and the version of their list, from which a watch continues."""
        try:
            return self._list(SCHEDULES, namespace, selector, f"metadata.name={name}" if name else "")
        except ApiRefused as error:
            if error.status == MISSING:
                raise not_installed() from None
            raise

    def schedule(self, namespace: str, name: str) -> Object:
        """Raises UnknownSchedule, which names the nearest one."""
        found = self._get(SCHEDULES, namespace, name)
        if found is None:
            raise self._unknown(namespace, name)
        return found

    def _unknown(self, namespace: str, name: str) -> KubesweepError:
        where = f"There is no schedule {name} in namespace {namespace}."
        try:
            known = [each["metadata"]["name"] for each in self.schedules(namespace)]
        except SpecError as error:  # the cluster has no CRD
            return error
        except KubesweepError:  # the user may read one schedule, but not list them
            return UnknownSchedule(where)
        if not known:
            return UnknownSchedule(
                f"{where}\nThe namespace has none. Name another:  -n NAMESPACE, or look:  kubectl sweep get -A"
            )
        near = nearest_name(name, known, cutoff=0.5)
        hint = f"Did you mean {near}? " if near else ""
        more = f" and {len(known) - SHOWN_NAMES} more" if len(known) > SHOWN_NAMES else ""
        return UnknownSchedule(f"{where}\n{hint}It has: {', '.join(sorted(known)[:SHOWN_NAMES])}{more}.")

    def annotate(self, ref: Ref, annotations: Mapping[str, str | None]) -> Object:
        """Set annotations; None removes one. Returns the schedule."""
        return self._patch(ref, {"metadata": {"annotations": dict(annotations)}})

    def patch_spec(self, ref: Ref, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into the spec. Returns the schedule."""
        return self._patch(ref, {"spec": dict(patch)})

    def _patch(self, ref: Ref, body: Object) -> Object:
        path, right = SCHEDULES.path(ref.namespace, ref.name), _right("patch", SCHEDULES, ref.namespace)
        query = [("fieldManager", "kubectl-sweep")]
        try:
            return self.transport.json("PATCH", path, right, query=query, body=body, kind=MERGE_PATCH)
        except ApiRefused as error:
            if error.status == MISSING:
                raise self._unknown(ref.namespace, ref.name) from None
            raise

    def watch(self, ref: Ref, timeout: float | None) -> Iterator[Object]:
        """The schedule now, and each later state of it, for at most ``timeout`` seconds. Raises UnknownSchedule if it is deleted."""
        for change in self.watch_all(ref.namespace, name=ref.name, timeout=timeout):
            if change.kind == "DELETED":
                raise UnknownSchedule(f"The schedule {ref} was deleted.")
            yield change.object

    def watch_all(
        self, namespace: str | None, *, selector: str = "", name: str = "", timeout: float | None = None
    ) -> Iterator[Change]:
        """Each schedule now, as LISTED, and each change."""
        chosen = {"labelSelector": selector, "fieldSelector": f"metadata.name={name}" if name else ""}
        source = Source(
            SCHEDULES.path(namespace),
            _right("watch", SCHEDULES, namespace),
            tuple((key, value) for key, value in chosen.items() if value),
        )
        until = None if timeout is None else time.monotonic() + timeout
        return follow(
            self.transport,
            source,
            lambda: self.listed_schedules(namespace, selector, name),
            until=until,
            pause=self._pause,
        )

    def answer(self, ref: Ref, command: str, nonce: str, timeout: float) -> Object:
        """Wait for the controller's answer to a command: ``{command, nonce, outcome, reason, message, ...}``.

        The outcome is Done, Refused, or with an older controller, which tells no more, Handled. Raises Unanswered after ``timeout``
        seconds.
        """
        for found in self.watch(ref, timeout):
            if answer := find_answer(found.get("status") or {}, Command(command), nonce):
                return answer
        raise Unanswered(
            f"The controller did not answer within {timeout:g} s. The command stays set and may still be executed.\n"
            f"To see why:  kubectl sweep why {ref.name} -n {ref.namespace}"
        )

    # other objects

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """One object; None where there is none, or where the cluster does not have this kind."""
        return self._get(kind, namespace, name)

    def list(self, kind: Kind, namespace: str | None, selector: str = "", fields: str = "") -> Objects:
        """The objects of a kind; none where the cluster does not have it. ``fields`` is a field selector."""
        try:
            return self._list(kind, namespace, selector, fields)[0]
        except ApiRefused as error:
            if error.status == MISSING:
                return []
            raise

    def create(self, kind: Kind, body: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Create an object in the namespace of its metadata. ``dry_run``: the API server only validates it."""
        namespace = body["metadata"].get("namespace")
        query = [("fieldManager", "kubectl-sweep"), *([("dryRun", "All")] if dry_run else [])]
        whole = {"apiVersion": kind.version, "kind": kind.kind, **body}
        right = _right("create", kind, namespace)
        return self.transport.json("POST", kind.path(namespace), right, query=query, body=whole)

    def validate(self, kind: Kind, body: Mapping[str, Any]) -> Object:
        """What the API server would store if ``body`` were applied now, by its schema and its admission policies. Nothing is stored."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        query = [("fieldManager", "kubectl-sweep"), ("force", "true"), ("fieldValidation", "Strict"), ("dryRun", "All")]
        path, right = kind.path(namespace, name), _right("patch", kind, namespace)
        return self.transport.json("PATCH", path, right, query=query, body=body, kind=APPLY_PATCH)

    def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str = "") -> bool:
        """Delete an object with what it owns, in the background. False where it was gone. ``uid``: only this one, not a successor."""
        options: Object = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        path, right = kind.path(namespace, name), _right("delete", kind, namespace)
        try:
            self.transport.json("DELETE", path, right, body=options)
        except ApiRefused as error:
            if error.status == MISSING:
                return False
            raise
        return True

    def pods(self, namespace: str, selector: str = "") -> Objects:
        return self.list(PODS, namespace, selector)

    def watch_pods(self, namespace: str, selector: str, timeout: float | None = None) -> Iterator[Change]:
        """Each pod now, as LISTED, and each change."""
        chosen = (("labelSelector", selector),) if selector else ()
        source = Source(PODS.path(namespace), _right("watch", PODS, namespace), chosen)
        until = None if timeout is None else time.monotonic() + timeout
        return follow(
            self.transport, source, lambda: self._list(PODS, namespace, selector, ""), until=until, pause=self._pause
        )

    def logs(
        self, namespace: str, pod: str, container: str = "", *,
        follow: bool = False, since: float | None = None, tail: int | None = None, previous: bool = False, timestamps: bool = False,
    ) -> Iterator[bytes]:  # fmt: skip
        """The lines of a container's log, without their line ends. ``since``: seconds. ``timestamps``: the kubelet's time before each line."""
        chosen = {
            "container": container,
            "follow": "true" if follow else "",
            "sinceSeconds": "" if since is None else str(max(1, round(since))),
            "tailLines": "" if tail is None else str(tail),
            "previous": "true" if previous else "",
            "timestamps": "true" if timestamps else "",
        }
        query = [(key, value) for key, value in chosen.items() if value]
        right = Right("get", "pods/log", "", namespace)
        silence = None if follow else self.transport.options.timeouts[1]
        return self.transport.lines(PODS.path(namespace, pod, "log"), right, query, silence)

    def exec(
        self, namespace: str, pod: str, container: str, argv: Sequence[str], timeout: float | None = None
    ) -> ExecResult:
        """Run a program in a container, and return what it printed and its exit code."""
        return run_in_pod(self.transport, PODS.path(namespace, pod, "exec"), container, argv, namespace, timeout)

    def version(self) -> Object:
        """What the API server says about itself: ``gitVersion`` and more."""
        return self.transport.json("GET", "/version", Right("get", "/version"))

    # requests

    def _get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        try:
            return self.transport.json("GET", kind.path(namespace, name), _right("get", kind, namespace))
        except ApiRefused as error:
            if error.status == MISSING:
                return None
            raise

    def _list(self, kind: Kind, namespace: str | None, selector: str, fields: str) -> tuple[Objects, str]:
        chosen = {"labelSelector": selector, "fieldSelector": fields, "limit": str(PAGE)}
        query = [(key, value) for key, value in chosen.items() if value]
        found: Objects = []
        more = ""
        while True:
            page = [*query, *([("continue", more)] if more else [])]
            answer = self.transport.json("GET", kind.path(namespace), _right("list", kind, namespace), query=page)
            for each in answer.get("items") or ():
                found.append({"apiVersion": kind.version, "kind": kind.kind, **each})
            more = answer["metadata"].get("continue") or ""
            if not more:
                return found, answer["metadata"].get("resourceVersion", "")


def _right(verb: str, kind: Kind, namespace: str | None) -> Right:
    return Right(verb, kind.plural, kind.group, namespace)
