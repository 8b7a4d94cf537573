"""bench/scrape.py runs end to end, and every schedule has every series."""

from __future__ import annotations

from pathlib import Path

from bench import scrape
from tests.kits.benchmarks import smoke_run


def test_a_smoke_run_measures_both(tmp_path: Path) -> None:
    found, printed = smoke_run("scrape", tmp_path)
    figures = found["figures"]
    assert figures["series"] > 40 * scrape.SMOKE.schedules
    assert figures["text_ms"] > 0
    assert figures["json_ms"] > 0
    assert figures["json_bytes"] < figures["text_bytes"]
    assert "| 20 |" in printed
