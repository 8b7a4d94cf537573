"""bench/effects.py runs end to end without peers and reports every figure of RESULTS.md."""

from __future__ import annotations

from pathlib import Path

from bench import effects
from tests.kits.benchmarks import smoke_run


def test_a_smoke_run_measures_every_effect(tmp_path: Path) -> None:
    report, printed = smoke_run("effects", tmp_path)
    figures = report["figures"]
    names = {effect: set(of_effect) for effect, of_effect in figures.items()}
    webhook = {"kubesweep", "kubesweep, batchRows", effects.BARE}
    assert names == {effects.NOTHING: {"kubesweep"}, effects.PAUSE: {"kubesweep"}, effects.WEBHOOK: webhook}
    assert all(rate > 0 for of_effect in figures.values() for one in of_effect.values() for rate in one["rates"])
    assert "| kubesweep, batchRows |" in printed


def test_command_line_options_change_the_smoke_run() -> None:
    options, file = effects.parse(["--smoke", "--rows", "500", "--effects", "pause", "--json", "out.json"])
    assert (options.rows, options.effects, options.peers, file) == (500, ("pause",), False, Path("out.json"))
