"""The commands of README and tutorial, taken from the pages and run one after the other; each must print what the page shows.

They install for the whole cluster, so no other release may live meanwhile. A CRD that other tests have left is given to the
release first, as Helm asks for.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deadlines import scaled
from tests.documents import File, difference, steps
from tests.e2e.kube import Cluster, Namespace
from tests.e2e.releases import OPEN

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


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_a_page_s_commands_print_what_it_shows(page: str, whole_cluster: Cluster, tmp_path: Path) -> None:
    for name in ("charts", "examples", "manifests"):
        (tmp_path / name).symlink_to(HOUSE / name)
    todo = list(steps((HOUSE / page).read_text()))
    assert len(todo) > 5

    for step in todo:
        if isinstance(step, File):
            (tmp_path / step.path).write_text(step.text)
            continue
        printed = run(step.text, tmp_path)
        problem = difference(step.shown, printed)
        assert problem is None, f"{page}:{step.line}: $ {step.text}\n{problem}"


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
