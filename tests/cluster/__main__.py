"""``python3 -m tests.cluster up|images|down``: what ``make cluster``, ``make images`` and ``make cluster-down`` call. See docs/testing.md.

``compile`` does what needs no cluster, in the background of whatever comes first: afterwards ``up`` and ``images`` find programs and images built.
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
from tests.cluster.testbed import CACHE, HERE, NODE, Bed, Broken, build, paths, run, say, step

ASIDE = (
    "kubeconform",
    "promtool",
    "kube-network-policies",
)  # for single tests, which build them: tests/cluster/build NAME


def up(bed: Bed) -> None:
    """A cluster that answers: the one that is there, or a new one in the place of what is left of it."""
    print("== compile", flush=True)
    _compile(images.servers())
    print("== cluster", flush=True)
    began = time.monotonic()
    if not lifecycle.running(bed):
        _anew(bed)
    try:
        _answer(bed)
    except Broken as error:
        say(f"{error}; a new cluster takes its place")
        _anew(bed)
        _answer(bed)
    _furnish(bed)
    say(
        f"{bed.name} is ready after {time.monotonic() - began:.0f} s; KUBECONFIG={bed.kubeconfig}, to be used inside tests/cluster/exec"
    )


def compile_(bed: Bed) -> None:
    """Programs, and the images that need none of them."""
    _compile([*images.servers(), *images.product()])


def product(bed: Bed) -> None:
    """The working tree's images, in the running cluster."""
    print("== images", flush=True)
    if not lifecycle.running(bed):
        raise Broken(f"{bed.name} is not running: make cluster")
    images.provide(bed, images.product())


def down(bed: Bed) -> None:
    with step(f"{bed.name} is gone"):
        lifecycle.down(bed)


def _compile(early: list[images.Image]) -> None:
    """Images are built beside the programs: they wait for Debian's mirror and the package index, programs for the processor."""
    install()
    with ThreadPoolExecutor(1) as beside:
        built = beside.submit(images.prepare, early)
        build([name for name in paths() if name not in ASIDE])
        built.result()


def _anew(bed: Bed) -> None:
    lifecycle.down(bed)
    lifecycle.up(bed)


def _answer(bed: Bed) -> None:
    """The two programs without which nothing can be asked for answer. Only where they do not, a running cluster is given up."""
    _until(bed, "containerd answers", "ctr", "--address", bed.containerd, "version")
    _until(bed, "the API server is ready", *_kubectl(bed), "get", "--raw", "/readyz")


def _furnish(bed: Bed) -> None:
    """What is missing in the cluster; harmless where nothing is."""
    images.provide(bed, images.platform())
    addons.apply(bed)
    _until(bed, f"{NODE} is there", *_kubectl(bed), "get", f"node/{NODE}")
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
    except Broken:
        return False
    return True


@contextmanager
def _alone(bed: Bed) -> Iterator[None]:
    """Two that bring the same cluster up would take each other's down."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{bed.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    commands = {"compile": compile_, "up": up, "images": product, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: python3 -m tests.cluster {'|'.join(commands)}")
    try:
        bed = Bed.chosen()
        with _alone(bed):
            commands[sys.argv[1]](bed)
    except Broken as error:
        sys.exit(f"cluster: {error}")


if __name__ == "__main__":
    main()
