"""The distribution of the cluster tests over the processes that share the cluster."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tests.e2e.shards import GROUPS, group_of

FOLDERS = [Path(__file__).parents[2] / name for name in ("e2e", "hostile")]


def test_each_listed_file_exists_and_is_in_one_group() -> None:
    listed = list(chain.from_iterable(GROUPS.values()))
    assert len(listed) == len(set(listed))
    existing = [each.name for folder in FOLDERS for each in folder.glob("test_*.py")]
    assert len(existing) == len(set(existing))
    assert set(listed) - set(existing) == set()


def test_files_that_affect_all_tests_run_alone_and_the_audit_last() -> None:
    assert group_of("tests/e2e/test_chart_cluster.py::test_it[a::b]") == "alone"
    assert GROUPS["alone"][-1] == "test_rbac.py"


def test_a_file_that_is_not_listed_runs_in_a_shard() -> None:
    assert group_of("tests/e2e/test_new.py::test_it") == "shard 3"
