"""The rate of a running sweep, from what was read of it while somebody watched."""

from __future__ import annotations

from collections.abc import Iterator

from kubesweep.timestamps import time_text
from kubesweep_console.readings import STILL, Readings
from kubesweep_console.views.sweeps import Progress, progress
from tests.kits.console import NOW, schedule, sweep

SWEEP = "9f2c"
WRITTEN = 15  # seconds from one status of the controller to the next
AHEAD = 7.0  # seconds that its clock is before that of the console


class Watched:
    """A sweep in a cluster that settles 100 rows a second, on a page that reads its status every two seconds."""

    def __init__(self) -> None:
        self.readings = Readings()
        self.second = 0

    def watch(self, seconds: int, stops: int = 10**6) -> Iterator[Progress]:
        """``stops``: the second from which nothing is settled, so that no status is written."""
        for second in range(self.second, self.second + seconds, 2):
            self.second = second + 2
            counted = min(second, stops) // WRITTEN * WRITTEN
            entry = sweep("Running", took=None, at=NOW, planned=100_000, applied=100 * counted)
            one = schedule(lastSweep=entry, countedTime=time_text(NOW + AHEAD + counted))
            self.readings.observe([one], NOW + second)
            assert one.last is not None
            yield progress(one, one.last, self.readings.of(SWEEP), NOW + second)


def test_numbers_that_are_written_every_15_seconds_have_the_rate_of_these_seconds() -> None:
    rates = [each.rate for each in Watched().watch(120)]
    assert rates[:8] == [""] * 8
    assert set(rates[8:]) == {"100 rows/s"}


def test_time_left_and_chart_follow_from_the_same_rate() -> None:
    *_, last = Watched().watch(62)
    assert last.left == "15 min 40 s"
    assert last.described == "from 100 rows/s to 100 rows/s while you watched"


def test_a_sweep_that_stands_still_has_no_rate_although_no_status_is_written() -> None:
    watched = Watched()
    assert next(iter(watched.watch(2))).rate == ""
    *_, moving = watched.watch(60)
    assert moving.rate == "100 rows/s"
    *_, still = watched.watch(int(STILL) + 20, stops=60)
    assert still.rate == "0.0 rows/s"
    *_, resumed = watched.watch(60)
    assert resumed.rate == "100 rows/s"


def test_readings_of_a_sweep_are_forgotten_with_it() -> None:
    readings = Readings()
    running = schedule(lastSweep=sweep("Running", took=None))
    for second in range(3):
        readings.observe([running], NOW + second)
    assert [each.at for each in readings.of(SWEEP)] == [NOW, NOW + 1, NOW + 2]
    readings.observe([schedule(lastSweep=sweep())], NOW + 4)
    assert len(readings.of(SWEEP)) == 3, "it has ended"
    readings.observe([schedule(lastSweep=sweep("Running", took=None, id="41aa"))], NOW + 5)
    assert readings.of(SWEEP) == ()


def test_a_clock_that_was_set_back_begins_new_readings() -> None:
    """The controller moves to a node whose clock is behind. Until it had caught up, the page would show the rate of before."""
    watched, slow = Watched(), 3600.0
    list(watched.watch(60))
    for second in range(60, 120, 2):
        entry = sweep(
            "Running", took=None, at=NOW, planned=100_000, applied=6000 + 10 * (second // WRITTEN * WRITTEN - 60)
        )
        one = schedule(lastSweep=entry, countedTime=time_text(NOW - slow + second // WRITTEN * WRITTEN))
        watched.readings.observe([one], NOW + second)
    assert one.last is not None
    assert progress(one, one.last, watched.readings.of(SWEEP), NOW + second).rate == "10 rows/s"
