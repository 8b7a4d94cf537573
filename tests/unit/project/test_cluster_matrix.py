"""Versions of the test bed: which can be selected, and the table of the combinations on which the tests ran."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.matrix import COMBINATIONS, HEAD, PAGE, cells, totals, with_row
from tests.cluster.testbed import HERE, REPOSITORY

TABLE = f"before\n\n{HEAD}\n|---|---|---|---|---|---|---|\n| 1.34.4 | 2.18.3 | redis 7 | 1 | all | 9 passed | 2026-01-02 |\n\nafter | x |\n"


def build_paths(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **variables}
    return subprocess.run(
        [str(HERE / "build"), "--paths"], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("variable", ["KUBERNETES=1.32", "KEDA=2.16", "KEDA=2", "KUBERNETES=v1.33"])
def test_a_version_that_cannot_be_built_is_refused_with_those_that_can(variable: str, tmp_path: Path) -> None:
    name, _, value = variable.partition("=")
    refused = build_paths(tmp_path, **{name: value})
    assert refused.returncode == 2
    minors = "2.17 2.18 2.19 2.20 2.21" if name == "KEDA" else "1.33 1.34 1.35 1.36"
    assert refused.stderr == f"{variable}: choose one of {minors}\n"
    assert refused.stdout == ""


def test_the_default_versions_may_be_named_and_others_change_only_their_programs(tmp_path: Path) -> None:
    default = build_paths(tmp_path).stdout.splitlines()
    assert build_paths(tmp_path, KUBERNETES="1.36", KEDA="2.21").stdout.splitlines() == default
    other = build_paths(tmp_path, KUBERNETES="1.33", KEDA="2.17").stdout.splitlines()
    changed = {line.split()[0]: line.rpartition("-")[2] for line in set(other) - set(default)}
    kubernetes = {name: version for name, version in changed.items() if name.startswith("kube")}
    assert set(kubernetes) == {
        "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
    }  # fmt: skip
    assert all(version.startswith("v1.33.") for version in kubernetes.values())
    assert changed.keys() - kubernetes.keys() == {"keda-operator", "keda-adapter"}
    assert changed["keda-operator"].startswith("v2.17.")


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("NODES=3", "cluster: NODES=3: choose 1 or 2\n"),
        ("QUEUE=kafka", "cluster: QUEUE=kafka: choose redis or valkey\n"),
        ("KEDA=1", "cluster: KEDA=1: choose one of 2.17 2.18 2.19 2.20 2.21\n"),
    ],
)
def test_make_cluster_refuses_what_it_cannot_build(variable: str, message: str, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **dict([variable.split("=")])}
    command = [sys.executable, "-m", "tests.cluster", "up"]
    refused = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", message)


def test_each_combination_can_be_built_and_has_a_name_of_its_own() -> None:
    assert len({each.name for each in COMBINATIONS}) == len(COMBINATIONS)
    assert all(len(each.versions()) == 4 for each in COMBINATIONS)


def test_a_result_replaces_the_row_of_its_combination_or_is_added() -> None:
    again = ["1.34.4", "2.18.3", "redis 7", "1", "all", "8 passed, 1 failed", "2026-03-04"]
    assert with_row(TABLE, again) == TABLE.replace("9 passed", "8 passed, 1 failed").replace("2026-01-02", "2026-03-04")
    older = ["1.33.13", "2.17.3", "redis 7", "1", "all", "9 passed", "2026-03-04"]
    assert with_row(TABLE, older) == TABLE.replace("| 1.34.4", f"| {' | '.join(older)} |\n| 1.34.4")


def test_the_totals_are_those_of_the_last_run_that_ended() -> None:
    output = "=== 3 passed in 1.50s ===\nmake[1]: x\n==== 1 failed, 2 passed in 61.02s (0:01:01) ====\ncluster: gone\n"
    assert totals(output) == "1 failed, 2 passed"
    assert totals("cluster: compiling failed\n") == ""


def test_the_page_has_the_table_and_each_row_is_complete() -> None:
    rows = PAGE.read_text().partition(f"{HEAD}\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert rows
    assert all(len(cells(row)) == 7 and all(cells(row)) for row in rows)
