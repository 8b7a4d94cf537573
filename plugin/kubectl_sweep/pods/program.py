"""Runs ``kubesweep-worker dead`` or ``check`` in the namespace of a schedule, where the database and the queue can be reached.

Beside a running worker it takes part of a second. Where none runs, because the schedule is scaled to zero, a short Job does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kubectl_sweep.cluster.client import Cluster
from kubectl_sweep.cluster.errors import ApiRefused
from kubectl_sweep.cluster.kinds import Ref
from kubectl_sweep.pods.job_body import CONTAINER
from kubectl_sweep.pods.short_job import ShortJob
from kubesweep.errors import KubesweepError
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["PROGRAM", "Ended", "newest_worker", "run_program", "worker_selector"]

PROGRAM = "kubesweep-worker"
SILENCE = 120.0  # seconds without output after which a program beside a worker counts as hung
NO_PROGRAM = (126, 127)  # exit codes of a container runtime that cannot start a program


class Ended(NamedTuple):
    """``output``: what the program printed; in a Job its log is in it too."""

    code: int
    output: str
    log: str = ""


def run_program(
    cluster: Cluster, terminal: Terminal, schedule: Mapping[str, Any], command: str, words: Sequence[str]
) -> Ended:
    """Run ``kubesweep-worker COMMAND WORDS`` in a running worker, else in a short Job. Raises Forbidden and Outage."""
    ref = Ref(schedule["metadata"]["namespace"], schedule["metadata"]["name"])
    argv = [PROGRAM, command, *words]
    worker = newest_worker(cluster.pods(ref.namespace, worker_selector(ref.name)))
    if worker is not None:
        try:
            found = cluster.exec(ref.namespace, worker, CONTAINER, argv, SILENCE)
        except ApiRefused as refused:
            terminal.say(f"{worker} ended meanwhile ({refused}).")
        else:
            if found.code in NO_PROGRAM:
                raise KubesweepError(f"The pod {worker} cannot run {PROGRAM} {command}: {found.stderr.strip()}")
            return Ended(found.code, found.stdout, found.stderr)
    terminal.say(f"No worker of {ref} runs: starting a short Job, which takes some seconds.")
    return run_job(cluster, terminal, schedule, command, words)


def run_job(
    cluster: Cluster, terminal: Terminal, schedule: Mapping[str, Any], command: str, words: Sequence[str]
) -> Ended:
    """Run it in a short Job in any case."""
    code, output = ShortJob(cluster, terminal.say).run(schedule, command, [PROGRAM, command, *words])
    return Ended(code, output)


def worker_selector(schedule: str) -> str:
    return f"kubesweep.dev/schedule={schedule},app.kubernetes.io/component=worker"


def newest_worker(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """The name of the newest pod in which a program can run now."""
    ready = [each for each in pods if _ready(each)]
    ready.sort(key=lambda each: str(each["metadata"].get("creationTimestamp", "")))
    return str(ready[-1]["metadata"]["name"]) if ready else None


def _ready(pod: Mapping[str, Any]) -> bool:
    status = pod.get("status") or {}
    conditions = {each.get("type"): each.get("status") for each in status.get("conditions") or ()}
    leaves = "deletionTimestamp" in pod["metadata"]
    return not leaves and status.get("phase") == "Running" and conditions.get("Ready") == "True"
