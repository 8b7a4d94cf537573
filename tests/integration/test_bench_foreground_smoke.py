"""bench/foreground.py runs end to end, and reads the latencies of the application beside the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import foreground, foreground_competitors
from bench.application import latencies, percentile
from tests.kits.benchmarks import smoke_run


def test_a_smoke_run_measures_every_contestant_beside_the_application(tmp_path: Path) -> None:
    """Each of them has to write every stale row, or the run fails."""
    figures, printed = smoke_run("foreground", tmp_path)
    contestants = set(foreground.LABELS)
    if not foreground_competitors.knows_health():
        contestants.discard(foreground.HEALTH)
    assert {write: set(one) for write, one in figures["contests"].items()} == dict.fromkeys(
        ("update", "delete", "archive"), contestants
    )
    for one in figures["contests"].values():
        for found in one.values():
            assert 0 < found["p50"][0] <= found["p99"][0] <= found["worst"][0]
            assert found["rate"][0] > 0
    assert max(lag for one in figures["contests"].values() for found in one.values() for lag in found["lag_megabytes"])
    assert "| Kubesweep, defaults |" in printed


def test_a_latency_belongs_to_the_time_at_which_its_transaction_was_due() -> None:
    log = [
        "0 1 4000000 0 1000 500000 3999000",  # due at 996.5, before the work began
        "1 1 2500000 0 1000 500000 2400000",  # due at 998, and late because of the work
        "0 2 1000 0 1000 900000 10",
        "0 3 1000 0 1002 0 10",  # due after it ended
    ]
    found = latencies(log, 997.0, 1001.0)
    assert (found.rate, found.p50, found.p99, found.worst) == (0.5, 1.0, 2500.0, 2500.0)
    with pytest.raises(RuntimeError, match="the application did nothing"):
        latencies(log, 2000.0, 2001.0)


def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0


def test_ratios_compare_with_the_application_alone_and_with_the_loop() -> None:
    def figures(seconds: float, p99: float) -> foreground.Figures:
        return foreground.Figures([seconds], [1.0], [p99], [9.0], [500.0], [0.25], [12.0])

    contest = {foreground.ALONE: figures(30, 4), foreground.LOOP: figures(10, 8), foreground.SWEEP: figures(15, 6)}
    report = foreground.table({"delete": contest}, 500.0, foreground.Options())
    assert "### 1,000,000 of 5,000,000 rows: delete" in report
    assert "| Kubesweep, defaults | 1.00 | 6.00 | 6.00..6.00 | 9.00 | 1.50 | 15.0 | 1.50 | 500 | 0.25 | 12 |" in report
    assert "| alone | 1.00 | 4.00 | 4.00..4.00 | 9.00 | 1.00 |  |  | 500 | 0.25 | 12 |" in report


def test_command_line_options_change_the_smoke_run() -> None:
    options, file = foreground.parse(
        ["--smoke", "--rows", "500", "--stale", "100", "--no-standby", "--contestants", "alone", "health"]
    )
    assert (options.load.rows, options.load.every, options.standby, file) == (500, 5, False, None)
    assert (options.contestants, options.rounds) == (("alone", "health"), foreground.SMOKE.rounds)
