"""Runs the commands of a documentation page in order. Each must print what the page shows.

The commands install a release for the whole cluster, so no other release may run at the same time. A CRD that other tests left gets Helm's
ownership metadata first, because Helm refuses to adopt it otherwise.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kits.deadlines import scaled
from tests.kits.documents import File, difference, steps
from tests.kits.kube_client import Cluster, Namespace
from tests.kits.releases import OPEN_NAMESPACES

ROOT = Path(__file__).parents[2]
CRD = ("apiextensions.k8s.io/v1 CustomResourceDefinition", "sweepschedules.kubesweep.dev")
PROGRAMS = Path(sys.executable).parent  # has kubectl-sweep, which kubectl runs for `kubectl sweep`
HOME, RELEASE = "kubesweep-system", "kubesweep"
PATIENCE = scaled(300)  # seconds; every command of the pages has a shorter limit of its own


@pytest.fixture
def exclusive_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, without the namespaces and the release that the pages create, before and after the test."""
    namespaces = [Namespace(cluster, name) for name in ("shop", HOME, "keda")]
    OPEN_NAMESPACES.extend(namespaces)
    if cluster.get(*CRD) is not None:
        helm = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": HOME}
        labels = {"app.kubernetes.io/managed-by": "Helm"}
        cluster.apply(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": CRD[1], "annotations": helm, "labels": labels},
            },
            manager="page-commands",  # tests that applied the whole CRD keep owning its other fields
        )
    yield cluster
    del OPEN_NAMESPACES[-len(namespaces) :]
    subprocess.run(["helm", "uninstall", RELEASE, "--namespace", HOME, "--ignore-not-found", "--wait"], check=True)
    for name in ("shop", HOME):
        command = ["kubectl", "delete", "namespace", name, "--ignore-not-found", f"--timeout={scaled(120):.0f}s"]
        subprocess.run(command, check=True)


def run_page(page: str, folder: Path, rewrite: Callable[[str], str] = str, after: Callable[[str], None] = print) -> int:
    """Run the page's commands in ``folder`` and return the number of steps.

    ``rewrite`` returns the command to run in place of the page's. ``after`` is called with each command that succeeded.
    """
    for name in ("charts", "examples", "manifests"):
        (folder / name).symlink_to(ROOT / name)
    todo = list(steps((ROOT / page).read_text()))
    for step in todo:
        if isinstance(step, File):
            (folder / step.path).write_text(step.text)
            continue
        printed = run(rewrite(step.text), folder)
        problem = difference(step.shown, printed)
        assert problem is None, f"{page}:{step.line}: $ {step.text}\n{problem}"
        after(step.text)
    return len(todo)


def run(command: str, folder: Path) -> str:
    """Run a command, which must succeed, and return what it prints."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "PATH": f"{PROGRAMS}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, f"$ {command}\n{ran.stdout}"
    # kubectl may log that it ended its own watch.
    return re.sub(r"^[IWE]\d{4} \d\d:\d\d:\d\d.*\n", "", ran.stdout, flags=re.MULTILINE)
