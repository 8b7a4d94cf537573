"""How the tests on a cluster are divided between the processes that share it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tests.e2e.shards import GROUPS, group_of

FOLDERS = [Path(__file__).parents[2] / name for name in ("e2e", "hostile")]


def test_each_file_that_is_named_is_there_and_in_one_group() -> None:
    named = list(chain.from_iterable(GROUPS.values()))
    assert len(named) == len(set(named))
    there = [each.name for folder in FOLDERS for each in folder.glob("test_*.py")]
    assert len(there) == len(set(there))
    assert set(named) - set(there) == set()


def test_what_all_tests_would_notice_runs_alone_and_the_look_back_last() -> None:
    assert group_of("tests/e2e/test_chart_cluster.py::test_it[a::b]") == "alone"
    assert GROUPS["alone"][-1] == "test_rbac.py"


def test_a_file_that_is_not_named_runs_in_a_shard() -> None:
    assert group_of("tests/e2e/test_new.py::test_it") == "shard 3"
