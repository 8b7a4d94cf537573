"""``python3 -m tests.cluster.matrix [NAME...]``, for ``make matrix``: run the e2e tests on each combination of versions, with a cluster of its own.

Each result is written at once to the table of docs/testing.md: the row of the combination is replaced, or added. A combination whose cluster does
not start has no row, because no test ran.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.cluster.testbed import HERE, REPOSITORY, run

PAGE = REPOSITORY / "docs" / "testing.md"
LOGS = REPOSITORY / ".build" / "matrix"
SERVERS = {"redis": "Redis 7.0", "valkey": "Valkey 8.1"}  # Debian's, which the images contain whatever their names are
HEAD = "| Kubernetes | KEDA | queue | nodes | tests | result | date |"
TOTALS = re.compile(r"^=+ (.*) in [0-9.]+s.*=+$", re.MULTILINE)


@dataclass(frozen=True)
class Combination:
    kubernetes: str
    keda: str
    queue: str = "redis"
    nodes: int = 1

    @property
    def name(self) -> str:
        more = ([self.queue] if self.queue != "redis" else []) + (["2nodes"] if self.nodes == 2 else [])
        return "+".join([self.kubernetes, self.keda, *more])

    @property
    def variables(self) -> dict[str, str]:
        words = {"KUBERNETES": self.kubernetes, "KEDA": self.keda, "QUEUE": self.queue, "NODES": str(self.nodes)}
        return {"KUBESWEEP_CLUSTER": "matrix", **words}

    def versions(self) -> list[str]:
        """The first columns of the combination's row."""
        words = [f"{name}={value}" for name, value in self.variables.items()]
        listed = run("env", *words, HERE / "build", "--paths").split()
        programs = {name: path.rpartition("-v")[2] for name, path in zip(listed[::2], listed[1::2], strict=True)}
        return [programs["kube-apiserver"], programs["keda-operator"], SERVERS[self.queue], str(self.nodes)]


COMBINATIONS = (
    Combination("1.33", "2.17"),
    Combination("1.34", "2.18"),
    Combination("1.35", "2.19", "valkey"),
    Combination("1.36", "2.20"),
    Combination("1.36", "2.21", "valkey"),
    Combination("1.36", "2.21", nodes=2),
)


def with_row(page: str, row: list[str]) -> str:
    """The page with the row in its table. It replaces the row of the same versions and tests."""
    before, found, rest = page.partition(f"{HEAD}\n")
    if not found:
        raise ValueError(f"the page has no table with the head {HEAD}")
    lines = rest.splitlines(keepends=True)
    length = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    kept = [line for line in lines[1:length] if cells(line)[:5] != row[:5]]
    rows = sorted([*kept, f"| {' | '.join(row)} |\n"], key=cells)
    return "".join([before, found, lines[0], *rows, *lines[length:]])


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def totals(output: str) -> str:
    """The totals that pytest printed last; empty if it did not run to its end."""
    found = TOTALS.findall(output)
    return found[-1] if found else ""


def run_tests(combination: Combination, environment: Mapping[str, str]) -> bool:
    """Run the tests and write the row. Returns whether all passed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log, began = LOGS / f"{combination.name}.log", time.monotonic()
    variables = {**environment, **combination.variables}
    with log.open("wb") as out:
        ended = subprocess.run(
            ["make", "e2e"],
            cwd=REPOSITORY,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=False,
        )
        subprocess.run(["make", "cluster-down"], cwd=REPOSITORY, env=variables, stdout=out, stderr=out, check=False)
    result = totals(log.read_text(errors="replace"))
    where = "" if ended.returncode == 0 else f": see {os.path.relpath(log)}"
    print(f"{combination.name}: {result or 'no test ran'} ({time.monotonic() - began:.0f} s){where}", flush=True)
    if result:
        tests = environment.get("E2E") or "all"
        row = [*combination.versions(), tests, result, time.strftime("%Y-%m-%d")]
        PAGE.write_text(with_row(PAGE.read_text(), row))
    return ended.returncode == 0


def main() -> None:
    known = {each.name: each for each in COMBINATIONS}
    if unknown := [name for name in sys.argv[1:] if name not in known]:
        sys.exit(f"matrix: {' '.join(unknown)}: choose of {' '.join(known)}")
    chosen = [known[name] for name in sys.argv[1:]] or list(COMBINATIONS)
    # What make was called with is in MAKEFLAGS too, where it would come before the combination's variables.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES")}
    results = [run_tests(each, environment) for each in chosen]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
