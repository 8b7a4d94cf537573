"""bench/console.py runs end to end and reports every figure of RESULTS.md."""

from __future__ import annotations

from pathlib import Path

from bench import console
from tests.kits.benchmarks import smoke_run


def test_a_smoke_run_compares_the_page_with_the_json_of_its_data(tmp_path: Path) -> None:
    figures, printed = smoke_run("console", tmp_path)
    assert figures["answers"].keys() == console.ROUTES.keys()
    assert all(len(one["seconds"]) == console.SMOKE.rounds for one in figures["answers"].values())
    assert all(one["size"] > 1000 for one in figures["answers"].values())
    assert all(memory > 10 for memory in figures["memory"].values())
    assert "x JSON" in printed
