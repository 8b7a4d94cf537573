"""bench/sweep.py runs end to end and reports every figure of RESULTS.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench import sweep
from tests.kits.deadlines import scaled

ROOT = Path(__file__).parents[2]


def test_a_smoke_run_measures_every_contestant_and_counts_pages(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = subprocess.run(
        (sys.executable, "-m", "bench.sweep", "--smoke", "--json", str(file)),
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=scaled(240),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(file.read_text())
    kubesweep = sweep.kubesweep_label(2)
    competitors = {sweep.STATEMENT, kubesweep, sweep.LOOP, sweep.STATEMENT + sweep.SNAPSHOT, kubesweep + sweep.SNAPSHOT}
    assert [set(one["rates"]) for one in figures["contests"]] == [competitors] * len(sweep.SMOKE.stale)
    assert all(rate > 0 for one in figures["contests"] for rates in one["rates"].values() for rate in rates)
    few, more = figures["pages"]
    assert 0 < few["heap"] < more["heap"]
    assert kubesweep in done.stdout


def test_command_line_options_change_the_smoke_run() -> None:
    options, file = sweep.parse(["--smoke", "--rows", "500", "--stale", "0.1", "--json", "out.json"])
    assert (options.rows, options.stale, options.rounds, file) == (500, (0.1,), sweep.SMOKE.rounds, Path("out.json"))
