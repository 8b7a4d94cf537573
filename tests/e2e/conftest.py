"""A cluster once for each run, a namespace for each test, and what a failed test leaves to be read.

``E2E_KUBECONFIG`` names a cluster of your own. Without it the tests run on the one of ``make cluster``: it is started where there is none, and this
process enters its network, from which alone it can be reached.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.bed import REPOSITORY, Bed
from tests.cluster.lifecycle import running
from tests.e2e.dump import dump
from tests.e2e.kube import Cluster, Namespace
from tests.e2e.network import enter
from tests.e2e.stage import Stage, staged
from tests.servers import Server

DUMPED = pytest.StashKey[list[Namespace]]()  # the namespaces that a failed test leaves to be read
BEGAN = pytest.StashKey[str]()  # when this run began, as the API server writes times
WHOLE = pytest.StashKey[bool]()  # whether all the tests of this folder run
CROWD = "test_controller_crowd.py"  # what it leaves keeps KEDA and the garbage collector busy for minutes
LAST = "test_rights.py"  # it looks back at what all others did


def pytest_configure(config: pytest.Config) -> None:
    config.stash[BEGAN] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    config.stash[WHOLE] = not any("::" in each for each in config.args)


def pytest_deselected(items: list[pytest.Item]) -> None:
    for each in items:
        each.config.stash[WHOLE] = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order = {CROWD: 1, LAST: 2}
    items.sort(key=lambda each: order.get(each.path.name, 0))
    here = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    config.stash[WHOLE] &= here <= {each.path.name for each in items}


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Cluster:
    if kubeconfig := os.environ.get("E2E_KUBECONFIG"):
        os.environ["KUBECONFIG"] = kubeconfig
        return Cluster(kubeconfig)
    bed = Bed.chosen()
    if not running(bed):
        subprocess.run([sys.executable, "-m", "tests.cluster", "up"], cwd=REPOSITORY, check=True)
    enter(bed)
    return Cluster(str(bed.kubeconfig))


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of the test's own, under PodSecurity ``restricted``; gone after it, and dumped if it failed."""
    words = re.sub("[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_").lower())[:40].strip("-")
    name = f"e2e-{words}-{uuid.uuid4().hex[:6]}"
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}})
    made = Namespace(cluster, name)
    request.node.stash.setdefault(DUMPED, []).append(made)
    yield made
    cluster.delete("v1 Namespace", name)


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    """A queue on this machine, for controllers that run as processes of a test."""
    server = Server("valkey").start()
    yield server
    server.remove()


@pytest.fixture
async def stage(redis: Server, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(redis, tmp_path) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when != "teardown":
        folder = Path(os.environ.get("E2E_DUMPS") or REPOSITORY / ".e2e") / item.name.replace("/", "-")
        for namespace in item.stash.get(DUMPED, []):
            report.sections.append((f"namespace {namespace.name}", dump(namespace, folder / namespace.name)))
    return report
