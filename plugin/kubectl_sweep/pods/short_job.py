"""Runs a program in a short Job and returns its output. The Job is deleted at the end, after an error and after Ctrl-C.

What this program cannot delete, because it is killed or loses its connection, the cluster deletes: the Job has a deadline and a time to live
after its end, and the schedule owns it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubectl_sweep.cluster.client import Cluster
from kubectl_sweep.cluster.errors import Forbidden
from kubectl_sweep.cluster.kinds import DEPLOYMENTS, EVENTS, JOBS, Ref
from kubectl_sweep.cluster.transport import Object
from kubectl_sweep.pods.job_body import CONTAINER, DEADLINE, TIME_TO_LIVE, build_job, worker_name
from kubectl_sweep.pods.outcome import exit_code, failure
from kubectl_sweep.pods.start_failure import final_failure, why_no_pod, why_not_started
from kubesweep.errors import KubesweepError, Outage

__all__ = ["ShortJob"]

SLICE = 3.0  # seconds after which the Events are read again while no pod runs
STARTS = 120.0  # seconds for which a pod may take to start, for a reason that may pass
PULLED = ("ImagePullBackOff",)  # the kubelet has tried twice


class ShortJob:
    """``say``: tells a person why it takes longer. ``clock``: monotonic seconds."""

    def __init__(
        self, cluster: Cluster, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster, self._say, self._clock = cluster, say, clock
        self._said = ""

    def run(self, schedule: Mapping[str, Any], program: str, argv: Sequence[str]) -> tuple[int, str]:
        """The exit code and the log of the program. Raises Outage where it could not run."""
        ref = Ref(schedule["metadata"]["namespace"], schedule["metadata"]["name"])
        deployment = self._cluster.get(DEPLOYMENTS, ref.namespace, worker_name(ref.name))
        if deployment is None:
            raise KubesweepError(
                f"{ref} has no Deployment {worker_name(ref.name)} yet, whose pod template is needed.\n"
                f"The controller creates it:  kubectl sweep why {ref.name} -n {ref.namespace}"
            )
        body, uid = build_job(schedule, deployment, program, argv), ""
        name = body["metadata"]["name"]
        try:
            uid = self._cluster.create(JOBS, body)["metadata"]["uid"]
            pod = self._until_ended(ref.namespace, name, uid)
            return self._result(ref.namespace, pod)
        finally:
            self._delete(ref.namespace, name, uid)

    def _until_ended(self, namespace: str, name: str, uid: str) -> Object:
        """The pod, once its program has ended."""
        began = self._clock()
        pod: Object | None = None
        while self._clock() - began < DEADLINE:
            for change in self._cluster.watch_pods(namespace, f"batch.kubernetes.io/job-name={name}", SLICE):
                pod = change.object
                if change.kind == "DELETED":
                    raise Outage(
                        "PodGone", f"The pod {pod['metadata']['name']} was deleted while its program ran.\nTry again."
                    )
                if exit_code(pod) is not None:
                    return pod
                if why := failure(pod):
                    raise Outage("PodFailed", f"The program could not run: {why}.")
            self._check_start(namespace, uid, pod, self._clock() - began)
        raise Outage("PodFailed", f"The program did not end within {DEADLINE} s.")

    def _check_start(self, namespace: str, uid: str, pod: Object | None, seconds: float) -> None:
        """Explain a pod that does not start. Raises Outage where waiting does not help."""
        events = self._events(namespace, uid if pod is None else pod["metadata"]["uid"])
        why = why_no_pod(events) if pod is None else why_not_started(pod, events)
        if not why:
            return
        refused = pod is None  # a quota or a policy, which the Job's controller asks again after a longer time each
        if (
            refused
            or (pod is not None and (final_failure(pod) or any(each in why for each in PULLED)))
            or seconds > STARTS
        ):
            raise Outage("PodNotStarted", f"The pod cannot start: {why}")
        if why != self._said:
            self._said = why
            self._say(f"Waiting: {why}")

    def _events(self, namespace: str, uid: str) -> list[Object]:
        try:
            return self._cluster.list(EVENTS, namespace, fields=f"regarding.uid={uid}")
        except Forbidden:
            return []

    def _result(self, namespace: str, pod: Object) -> tuple[int, str]:
        code = exit_code(pod)
        assert code is not None
        lines = self._cluster.logs(namespace, pod["metadata"]["name"], CONTAINER)
        return code, b"\n".join(lines).decode(errors="replace")

    def _delete(self, namespace: str, name: str, uid: str) -> None:
        """Also where the answer to the creation was lost: the name is known."""
        try:
            self._cluster.delete(JOBS, namespace, name, uid=uid)
        except Forbidden:
            if uid:
                self._say(f"You may not delete the Job {name}. The cluster deletes it {TIME_TO_LIVE} s after its end.")
        except KubesweepError as error:
            self._say(
                f"The Job {name} is not deleted ({error}). The cluster deletes it {TIME_TO_LIVE} s after its end."
            )
