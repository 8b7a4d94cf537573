"""bench/controller.py runs end to end, with an API server of its own, and reports every figure of RESULTS.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import controller
from tests.kits.benchmarks import smoke_run


@pytest.mark.slow
@pytest.mark.bed
def test_a_smoke_run_measures_both_contestants(tmp_path: Path) -> None:
    report, printed = smoke_run("controller", tmp_path, 300)
    (schedules,) = controller.SMOKE.schedules
    figures = report["figures"][str(schedules)]
    assert set(figures) == {controller.FIRST, controller.AGAIN, controller.LOOP}
    for name, each in figures.items():
        assert {what: len(found) for what, found in each.items()} == dict.fromkeys(each, 1), name
        assert min(each["resident"][0], each["peak"][0], each["start"][0], each["start_cpu"][0]) > 0, name
        assert f"| {name} | {schedules} |" in printed


def test_command_line_options_change_the_smoke_run() -> None:
    options, file = controller.parse(["--smoke", "--schedules", "5", "--schedules", "7", "--json", "out.json"])
    assert (options.schedules, options.rounds, file) == ((5, 7), controller.SMOKE.rounds, Path("out.json"))


def test_a_contestant_that_was_not_started_has_no_row() -> None:
    figures = controller.Figures([125.0], [126.0], [12.5], [7.0], [1.0], [0.0])
    lines = controller.table({1000: {controller.FIRST: figures, controller.LOOP: controller.Figures()}}).splitlines()
    assert lines[2:] == [f"| {controller.FIRST} | 1,000 | 125 | 126 | 12.5 | 7.0 | 1.00 | 0 |"]
