"""``python3 -m tests.cluster up|images|down``, for ``make cluster``, ``make images`` and ``make cluster-down``. See docs/testing.md.

``compile`` builds programs and images, which needs no cluster, so that ``up`` and ``images`` find them built. .ci/run calls it in the background.
"""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import addons, images, lifecycle
from tests.cluster.packages import install
from tests.cluster.testbed import CACHE, HERE, Bed, BedError, build, paths, queue_image, run, say, selected_nodes, step

ON_DEMAND = (
    "actionlint",
    "kubeconform",
    "promtool",
    "kube-network-policies",
)  # built by what uses them: tests/cluster/build NAME


def up(bed: Bed) -> None:
    """Make sure that a cluster as selected runs and answers: keep the existing one, or replace it."""
    print("== compile", flush=True)
    _compile(images.servers())
    print("== cluster", flush=True)
    began = time.monotonic()
    if not (lifecycle.running(bed) and lifecycle.as_selected(bed)):
        _recreate(bed)
    try:
        _until_answering(bed)
    except BedError as error:
        say(f"{error}; creating a new cluster")
        _recreate(bed)
        _until_answering(bed)
    _install(bed)
    say(
        f"{bed.name} is ready after {time.monotonic() - began:.0f} s; KUBECONFIG={bed.kubeconfig}, to be used inside tests/cluster/exec"
    )


def compile_(bed: Bed) -> None:
    """Build the programs, and the images that need no compiled program. Those of single tests too, which would wait for them."""
    _compile([*images.servers(), *images.product()], "kube-network-policies")


def product(bed: Bed) -> None:
    """Build the working tree's images and import them into the running cluster."""
    print("== images", flush=True)
    if not (lifecycle.running(bed) and lifecycle.as_selected(bed)):
        raise BedError(f"{bed.name} is not running with these versions and nodes: make cluster")
    images.provide(bed, images.product())


def down(bed: Bed) -> None:
    with step(f"{bed.name} is gone"):
        lifecycle.down(bed)


def _compile(early: list[images.Image], *more: str) -> None:
    """Build images and programs at the same time: images wait for downloads, programs for the CPU."""
    install()
    with ThreadPoolExecutor(1) as beside:
        built = beside.submit(images.prepare, early)
        build([name for name in paths() if name not in ON_DEMAND or name in more])
        built.result()


def _recreate(bed: Bed) -> None:
    lifecycle.down(bed)
    lifecycle.up(bed)


def _until_answering(bed: Bed) -> None:
    """Wait for containerd and the API server. If they do not answer, the caller replaces the cluster."""
    for node in bed.nodes:
        _until(bed, f"containerd of {node.name} answers", "ctr", "--address", node.containerd, "version")
    _until(bed, "the API server is ready", *_kubectl(bed), "get", "--raw", "/readyz")


def _install(bed: Bed) -> None:
    """Import images and apply the add-ons. Changes nothing where everything is installed."""
    images.provide(bed, images.platform())
    addons.apply(bed)
    for node in bed.nodes:
        _until(bed, f"{node.name} is registered", *_kubectl(bed), "get", f"node/{node.name}")
    images.provide(bed, images.servers())
    addons.wait(bed)


def _until(bed: Bed, what: str, *command: str | Path) -> None:
    with step(what):
        lifecycle.until(lambda: _works(command), f"{what}: see {bed.folder}/log")


def _kubectl(bed: Bed) -> tuple[str | Path, ...]:
    return ("env", f"KUBESWEEP_CLUSTER={bed.name}", HERE / "exec", "kubectl", "--request-timeout=5s")


def _works(command: Sequence[str | Path]) -> bool:
    try:
        run(*command)
    except BedError:
        return False
    return True


@contextmanager
def _locked(bed: Bed) -> Iterator[None]:
    """A lock for each cluster: two processes that create the same one would delete each other's."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{bed.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    commands = {"compile": compile_, "up": up, "images": product, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: python3 -m tests.cluster {'|'.join(commands)}")
    try:
        bed = Bed.selected()
        for check in (paths, selected_nodes, queue_image):  # before anything is installed or built
            check()
        with _locked(bed):
            commands[sys.argv[1]](bed)
    except BedError as error:
        sys.exit(f"cluster: {error}")


if __name__ == "__main__":
    main()
