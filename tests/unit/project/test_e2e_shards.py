"""The distribution of the cluster tests over the processes that share the cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

from tests.cluster.testbed import REPOSITORY
from tests.e2e.shards import GROUPS, group_of

E2E = REPOSITORY / "tests" / "e2e"


def test_each_listed_file_exists_and_is_in_one_group() -> None:
    listed = list(chain.from_iterable(GROUPS.values()))
    assert len(listed) == len(set(listed))
    assert set(listed) - {each.name for each in E2E.glob("test_*.py")} == set()


def test_files_that_affect_all_tests_run_alone_and_first_and_the_audit_last() -> None:
    assert group_of("tests/e2e/test_chart_cluster.py::test_it[a::b]") == "alone"
    assert list(GROUPS) == ["alone", "shard 1", "shard 2", "shard 3", "last"]
    assert GROUPS["last"] == ("test_rbac.py",)


def test_a_file_that_is_not_listed_runs_in_a_shard() -> None:
    assert group_of("tests/e2e/test_new.py::test_it") == "shard 3"


CONFTEST = """
from pathlib import Path

import pytest

from tests.e2e import conftest as e2e
from tests.e2e import shards

shards.FOLDER = Path(__file__).parent
pytest_configure, pytest_unconfigure = e2e.pytest_configure, e2e.pytest_unconfigure
pytest_configure_node, pytest_xdist_make_scheduler = e2e.pytest_configure_node, e2e.pytest_xdist_make_scheduler
pytest_runtest_protocol = e2e.pytest_runtest_protocol


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    shards.arrange(items)


@pytest.fixture(autouse=True)
def written(request: pytest.FixtureRequest) -> None:
    with (shards.FOLDER / "ran").open("a") as file:
        file.write(f"{shards.group_of(request.node.nodeid)}\\n")
"""


def run(folder: Path) -> tuple[int, list[str]]:
    """Run four tests of each group, with three processes. Return the exit code, and the groups in the order of their tests."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST)
    for name in ("test_rbac.py", "test_crd.py", "test_pods.py", "test_soak.py", "test_chart_cluster.py"):
        (folder / name).write_text("".join(f"def test_{number}(): pass\n" for number in range(4)))
    command = [sys.executable, "-m", "pytest", "-q", "-n", "3", "-p", "no:cacheprovider", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return ended.returncode, (folder / "ran").read_text().splitlines()


def test_the_tests_that_run_alone_end_before_the_shards_begin_and_the_audit_follows_them(tmp_path: Path) -> None:
    code, ran = run(tmp_path)
    assert code == 0
    assert ran[:4] == ["alone"] * 4
    assert sorted(ran[4:-4]) == [f"shard {number}" for number in (1, 2, 3) for _ in range(4)]
    assert ran[-4:] == ["last"] * 4
