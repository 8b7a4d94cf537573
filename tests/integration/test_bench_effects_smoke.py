"""bench/effects.py runs end to end without peers and reports every figure of RESULTS.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench import effects
from tests.kits.deadlines import scaled

ROOT = Path(__file__).parents[2]


def test_a_smoke_run_measures_every_effect(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = subprocess.run(
        (sys.executable, "-m", "bench.effects", "--smoke", "--json", str(file)),
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=scaled(240),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(file.read_text())["figures"]
    names = {effect: set(of_effect) for effect, of_effect in figures.items()}
    webhook = {"kubesweep", "kubesweep, batchRows", effects.BARE}
    assert names == {effects.NOTHING: {"kubesweep"}, effects.PAUSE: {"kubesweep"}, effects.WEBHOOK: webhook}
    assert all(rate > 0 for of_effect in figures.values() for one in of_effect.values() for rate in one["rates"])
    assert "| kubesweep, batchRows |" in done.stdout


def test_command_line_options_change_the_smoke_run() -> None:
    options, file = effects.parse(["--smoke", "--rows", "500", "--effects", "pause", "--json", "out.json"])
    assert (options.rows, options.effects, options.peers, file) == (500, ("pause",), False, Path("out.json"))
