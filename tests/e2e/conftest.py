"""One cluster for a run, a namespace for each test, and the diagnostics of failed tests.

``E2E_KUBECONFIG`` selects a cluster of your own. Without it the tests use the cluster of ``make cluster`` and start it where it does not run. Only
its network reaches it, so each test process enters that network. shards.py defines which tests run side by side.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.lifecycle import running
from tests.cluster.testbed import REPOSITORY, Bed
from tests.e2e.shards import FOLDER, ClusterLock, Scheduling, arrange, group_of, one_at_a_time
from tests.e2e.summary import pytest_terminal_summary
from tests.kits.cluster_network import enter_cluster_network
from tests.kits.controller_environment import ControllerEnvironment, controller_environment
from tests.kits.diagnostics import dump
from tests.kits.kube_client import Cluster, Namespace
from tests.kits.page_commands import exclusive_cluster
from tests.kits.releases import OPEN_NAMESPACES, temporary_namespace
from tests.kits.servers import Server

__all__ = ["exclusive_cluster", "pytest_terminal_summary"]

BEGAN = pytest.StashKey[str]()  # when this run began, as the API server writes times
WHOLE = pytest.StashKey[bool]()  # whether all tests of this folder run
LOCK = pytest.StashKey[ClusterLock]()


def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", {})  # what pytest_configure_node passed to this process
    config.stash[BEGAN] = given.get("began") or time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    config.stash[WHOLE] = not any("::" in each for each in config.args)
    config.stash[LOCK] = ClusterLock()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A hook of pytest-xdist: pass the start of the run to the process of a shard."""
    node.workerinput["began"] = node.config.stash[BEGAN]


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[LOCK].close()


def pytest_deselected(items: list[pytest.Item]) -> None:
    for each in items:
        each.config.stash[WHOLE] = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log, config.stash[LOCK])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    clustered = [each for each in items if each.path.parent == here]
    others = [each for each in items if each.path.parent != here]
    arrange(clustered)
    items[:] = others + clustered
    config.stash[WHOLE] &= {path.name for path in here.glob("test_*.py")} <= {each.path.name for each in clustered}


@pytest.hookimpl(tryfirst=True)  # before the test's duration is measured
def pytest_runtest_protocol(item: pytest.Item) -> None:
    lock, group = item.config.stash[LOCK], group_of(item.nodeid)
    if group not in ("alone", "last"):
        lock.share()
        return
    has_main_process = hasattr(item.config, "workerinput")  # of pytest-xdist, which holds the lock for "alone"
    if group == "last" or not has_main_process:
        lock.take()


@pytest.fixture(scope="session", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    cache = tmp_path_factory.mktemp("discovery") / "cache.json"
    if kubeconfig := os.environ.get("E2E_KUBECONFIG"):
        os.environ["KUBECONFIG"] = kubeconfig
        return Cluster(kubeconfig, cache)
    bed = Bed.selected()
    with one_at_a_time("up"):
        if not running(bed):
            subprocess.run([sys.executable, "-m", "tests.cluster", "up"], cwd=REPOSITORY, check=True)
    enter_cluster_network(bed)
    return Cluster(str(bed.kubeconfig), cache)


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace for this test."""
    words = re.sub("[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_").lower())[:40].strip("-")
    with temporary_namespace(cluster, words) as made:
        yield made


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    """A queue on loopback, for controllers that run as processes of a test."""
    server = Server("valkey").start()
    yield server
    server.remove()


@pytest.fixture
async def env(redis: Server, tmp_path: Path) -> AsyncIterator[ControllerEnvironment]:
    async with controller_environment(redis, tmp_path) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when != "teardown":
        folder = Path(os.environ.get("E2E_DUMPS") or FOLDER) / item.name.replace("/", "-")
        for namespace in OPEN_NAMESPACES:
            report.sections.append((f"namespace {namespace.name}", dump(namespace, folder / namespace.name)))
    return report
