"""The commands of a page, taken from it and run one after the other; each must print what the page shows.

They install for the whole cluster, so no other release may live meanwhile. A CRD that other tests have left is given to the
release first, as Helm asks for.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kits.deadlines import scaled
from tests.kits.documents import File, difference, steps
from tests.kits.kube_client import Cluster, Namespace
from tests.kits.releases import OPEN

HOUSE = Path(__file__).parents[2]
CRD = ("apiextensions.k8s.io/v1 CustomResourceDefinition", "sweepschedules.kubesweep.dev")
HOME, RELEASE = "kubesweep-system", "kubesweep"
PATIENCE = scaled(300)  # seconds; every command of the pages has a shorter limit of its own


@pytest.fixture
def whole_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """Nothing of the pages' names is there before, nor after."""
    theirs = [Namespace(cluster, name) for name in ("shop", HOME, "keda")]
    OPEN.extend(theirs)
    if cluster.get(*CRD) is not None:
        helm = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": HOME}
        labels = {"app.kubernetes.io/managed-by": "Helm"}
        cluster.apply(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": CRD[1], "annotations": helm, "labels": labels},
            }
        )
    yield cluster
    del OPEN[-len(theirs) :]
    subprocess.run(["helm", "uninstall", RELEASE, "--namespace", HOME, "--ignore-not-found", "--wait"], check=True)
    for name in ("shop", HOME):
        command = ["kubectl", "delete", "namespace", name, "--ignore-not-found", f"--timeout={scaled(120):.0f}s"]
        subprocess.run(command, check=True)


def follow(page: str, folder: Path, given: Callable[[str], str] = str, after: Callable[[str], None] = print) -> int:
    """Does what the page says, in ``folder``, and returns how many steps that were. ``given`` makes of a command the one to run, ``after`` is told of
    each that ended well."""
    for name in ("charts", "examples", "manifests"):
        (folder / name).symlink_to(HOUSE / name)
    todo = list(steps((HOUSE / page).read_text()))
    for step in todo:
        if isinstance(step, File):
            (folder / step.path).write_text(step.text)
            continue
        printed = run(given(step.text), folder)
        problem = difference(step.shown, printed)
        assert problem is None, f"{page}:{step.line}: $ {step.text}\n{problem}"
        after(step.text)
    return len(todo)


def run(command: str, folder: Path) -> str:
    """What the command prints; it must end well."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, f"$ {command}\n{ran.stdout}"
    # Of a watch that it ended itself kubectl may log that it was ended.
    return re.sub(r"^[IWE]\d{4} \d\d:\d\d:\d\d.*\n", "", ran.stdout, flags=re.MULTILINE)
