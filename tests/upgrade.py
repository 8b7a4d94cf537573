"""``python -m tests.upgrade FOLDER``: upgrade a release of the source tree in FOLDER to this one, during a sweep, on the test bed that runs.

``make release-check`` calls it with the last tag. It follows docs/operations.md: the CRD first, then the release.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster import images
from tests.cluster.testbed import REPOSITORY, Bed
from tests.kits.carts import NAME, ROWS, slow_sweep_of_carts
from tests.kits.cluster_network import enter_cluster_network
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.releases import NAMESPACED, Release, temporary_namespace
from tests.kits.schedules import workers_of
from tests.kits.workloads import product_image

TAG = "before-upgrade"  # of the images; both trees may have the same version
CRD = Path("manifests") / "crd.yaml"
CHART = Path("charts") / "kubesweep"


def upgrade(cluster: Cluster, before: Path) -> str:
    """Install what ``before`` has, start a sweep, upgrade, and check the sweep. Returns a sentence with the times."""
    with temporary_namespace(cluster, "upgrade") as namespace:
        release = Release(namespace)
        try:
            cluster.apply((before / CRD).read_text())
            tags = {f"{name}.image.tag": TAG for name in ("controller", "worker")}
            release.install({**NAMESPACED, **tags}, chart=str(before / CHART))
            with slow_sweep_of_carts(namespace) as carts:
                began = time.monotonic()
                cluster.apply((REPOSITORY / CRD).read_text())
                release.upgrade(NAMESPACED)
                upgraded = time.monotonic() - began
                _until_new_workers(namespace)
                rolled = time.monotonic() - began
                assert not carts.written(ROWS), "the upgrade was to happen during the sweep"
                _list_schedules(namespace)
                carts.full_speed()
                found = carts.until_swept_once()
                assert not found["status"].get("history"), f"the sweep started again: {found['status']}"
        finally:
            cluster.apply((REPOSITORY / CRD).read_text())
    return f"upgraded in {upgraded:.0f} s, workers replaced after {rolled:.0f} s; the sweep continued and wrote {ROWS} rows once"


def _until_new_workers(namespace: Namespace) -> None:
    """Wait until all workers have this version's image and are ready."""

    def replaced(found: list[Object]) -> bool:
        return bool(found) and all(
            each["spec"]["containers"][0]["image"] == product_image("worker")
            and all(one["ready"] for one in each["status"].get("containerStatuses") or [{"ready": False}])
            for each in found
        )

    namespace.until_all("v1 Pod", workers_of(NAME), replaced, what="the workers are of this version", patience=180)


def _list_schedules(namespace: Namespace) -> None:
    """This version's ``kubectl sweep get`` shows the schedule that the other version's chart served."""
    command = [sys.executable, "-m", "kubectl_sweep", "get", "--namespace", namespace.name]
    ran = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=scaled(60)
    )
    assert (ran.returncode, NAME in ran.stdout) == (0, True), f"kubectl sweep get: {ran}"


def main() -> None:
    before, bed = Path(sys.argv[1]), Bed.selected()
    images.provide(bed, [*images.product(before, TAG), *images.product()])
    enter_cluster_network(bed)
    with tempfile.TemporaryDirectory() as folder:
        print(upgrade(Cluster(str(bed.kubeconfig), Path(folder) / "discovery.json"), before))


if __name__ == "__main__":
    main()
