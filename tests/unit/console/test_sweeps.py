"""Sweeps in the console: the equation of outcomes, the bar, the progress and the rate."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.queue.model import Sweep
from kubesweep_console.documents import read_sweep
from kubesweep_console.views.sweeps import OUTCOMES, Reading, progress, sweep_line
from tests.kits.console import NOW, schedule, sweep


def read(**fields: Any) -> Sweep:
    found = read_sweep(sweep(**fields))
    assert found is not None
    return found


counts = st.integers(0, 10**9)


@given(st.tuples(counts, counts, counts, counts, counts), counts)
def test_the_equation_of_a_sweep_adds_up_and_its_bar_fits(outcomes: tuple[int, ...], rest: int) -> None:
    given_ = dict(zip(OUTCOMES, outcomes, strict=True))
    line = sweep_line(read(state="Running", took=None, planned=sum(outcomes) + rest, **given_), NOW)
    left, _, right = line.equation.partition(" planned = ")
    parts = [int(text.replace(",", "")) for text in re.findall(r"[\d,]+", right)]
    assert int(left.replace(",", "")) == sum(parts)
    widths = [float(text) for text in re.findall(r'width="([\d.]+)"', line.bar)]
    assert len(widths) == sum(number > 0 for number in outcomes)
    assert sum(widths) <= 1000.5


def test_rows_without_an_outcome_are_open_or_not_reached() -> None:
    assert sweep_line(read(state="Running", took=None, planned=30, applied=10), NOW).equation.endswith("+ 20 open")
    assert sweep_line(read(state="Halted", planned=30, applied=10), NOW).equation.endswith("+ 20 not reached")


def test_a_sweep_whose_numbers_do_not_add_up_says_so() -> None:
    assert sweep_line(read(planned=5, applied=10), NOW).equation.startswith("5 planned ≠ 10 = ")


def test_a_dry_run_has_no_outcomes() -> None:
    line = sweep_line(read(mode="DryRun", planned=30), NOW)
    assert (line.outcomes, str(line.bar), line.equation) == ((), "", "30 planned, no row was changed")


def test_the_duration_is_known_after_the_end_and_until_now_before() -> None:
    assert sweep_line(read(took=4.0), NOW).took == "4.0 s"
    assert sweep_line(read(state="Running", took=None), NOW).took == "1 min 40 s so far"


@pytest.mark.parametrize(
    ("state", "tone"), [("Completed", "good"), ("Running", "active"), ("Failed", "bad"), ("Lost", "bad")]
)
def test_the_state_of_a_sweep_has_a_tone(state: str, tone: str) -> None:
    assert sweep_line(read(state=state), NOW).tone == tone


def test_a_completed_sweep_with_dead_rows_is_a_warning() -> None:
    assert sweep_line(read(dead=2), NOW).tone == "warn"


def test_rate_and_time_left_follow_from_the_last_seconds() -> None:
    entry = sweep("Running", took=None, planned=1000, applied=400)
    one = schedule(lastSweep=entry, queue={"ready": 3, "running": 2, "delayed": 1, "dead": 0})
    readings = [Reading(NOW - 60, 0), Reading(NOW - 10, 200, 0.5), Reading(NOW, 400, 0.5)]
    assert one.last is not None
    found = progress(one, one.last, readings, NOW)
    assert (found.rate, found.left, found.share, found.active) == ("20 rows/s", "30 s", "40 %", True)
    assert found.jobs == (("ready", "3"), ("running", "2"), ("waiting to retry", "1"))
    assert "from 4.0 rows/s to 20 rows/s while you watched" in found.chart
    assert "allowed 50 % at the least" in found.chart


def test_a_sweep_that_still_plans_expects_the_rows_of_its_backlog() -> None:
    entry = sweep("Running", took=None, planned=300, applied=100, retrying=20)
    one = schedule(lastSweep=entry, backlog={"rows": 400})
    assert one.last is not None
    found = progress(one, one.last, [Reading(NOW - 10, 20), Reading(NOW, 120)], NOW)
    assert (found.settled, found.expected, found.share, found.left) == ("120", "about 500", "24 %", "38 s")


def test_while_it_plans_neither_share_nor_time_left_is_shown() -> None:
    one = schedule(lastSweep=sweep("Planning", took=None, planned=1000, applied=400))
    assert one.last is not None
    found = progress(one, one.last, [Reading(NOW - 5, 100), Reading(NOW, 400)], NOW)
    assert (found.share, found.left, found.rate) == ("", "", "60 rows/s")


def test_a_sweep_of_the_history_has_its_average_but_not_the_jobs_of_now() -> None:
    past = sweep(id="41aa", took=5.0, planned=100, applied=100)
    one = schedule(lastSweep=sweep(), history=[past], queue={"ready": 3}, throttle={"reason": "ReplayLag"})
    found = progress(one, one.sweeps[1], [], NOW)
    assert (found.average, found.rate, found.jobs, found.throttle) == ("20 rows/s", "", (), None)


def test_one_reading_makes_neither_a_rate_nor_a_chart() -> None:
    one = schedule(lastSweep=sweep("Running", took=None))
    assert one.last is not None
    found = progress(one, one.last, [Reading(NOW, 4)], NOW)
    assert (found.rate, found.left, str(found.chart)) == ("", "", "")
