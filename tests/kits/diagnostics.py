"""Diagnostics of a failed test, written to a folder: the objects of its namespace except Secrets, the events in order, each container's log.

The report of the test shows a summary.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.kits.deadlines import scaled
from tests.kits.kube_client import Namespace

SHOWN = 40  # lines of events
BRIEF = ("pods", "deployments", "scaledobjects", "sweepschedules")


def dump(namespace: Namespace, folder: Path) -> str:
    """Write the diagnostics to ``folder`` and return the summary for the report."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = _kubectl("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
    kinds = [kind for kind in listed if not kind.startswith(("secrets", "events"))]
    within = ("--namespace", namespace.name)
    (folder / "objects.yaml").write_text(_kubectl("get", ",".join(kinds), *within, "--output=yaml"))
    events = _kubectl("get", "events", *within, "--sort-by=.metadata.creationTimestamp")
    (folder / "events.txt").write_text(events)
    (folder / "pods.txt").write_text(_kubectl("describe", "pods", *within))
    for pod in namespace.all("v1 Pod"):
        name = pod["metadata"]["name"]
        for status in pod["status"].get("containerStatuses", []):
            container = (name, "--container", status["name"], *within)
            (folder / f"{name}.{status['name']}.log").write_text(_kubectl("logs", *container))
            if status["restartCount"]:
                (folder / f"{name}.{status['name']}.before.log").write_text(_kubectl("logs", "--previous", *container))
    brief = [_kubectl("get", kind, *within) for kind in BRIEF]
    conditions = _kubectl(
        "get", "sweepschedules", *within, "--output=jsonpath={range .items[*]}{.status.conditions}{end}"
    )
    last = "\n".join(events.splitlines()[-SHOWN:])
    return "\n".join((*brief, conditions, last, f"all of it: {folder}"))


def _kubectl(*words: str) -> str:
    """Output and errors of kubectl. A failure is part of the diagnostics and raises nothing."""
    done = subprocess.run(
        ["kubectl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=scaled(60), check=False
    )
    return done.stdout + done.stderr
