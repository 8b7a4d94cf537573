"""What ``kubesweep status`` shows of the backlog, and of the state of a sweep."""

from __future__ import annotations

import msgspec
import pytest

from kubesweep.queue.model import ScheduleRef, Stats, Sweep, SweepState
from kubesweep_cli.views.schedule_view import schedule_view
from kubesweep_cli.views.status_table import status_notes, status_table
from tests.unit.cli.test_presentation import RUNNING, VERSION, text_of
from tests.unit.core.test_backlog import CAPPED, HOUR, HOURLY, START, stats_of


@pytest.mark.parametrize(("width", "shown"), [(120, True), (98, True), (80, False)])
def test_the_status_has_the_backlog_where_it_fits(width: int, shown: bool) -> None:
    ref, now = ScheduleRef.local("default", "close-carts"), START + 3 * HOUR
    text = text_of(status_table([ref], [stats_of(CAPPED)], now, width=width), width=width)
    assert ("backlog" in text) is shown
    assert ("400" in text) is shown


def test_falling_behind_is_a_note_at_any_width() -> None:
    now = START + 3 * HOUR
    (note,) = status_notes(stats_of(CAPPED), now)
    assert note.startswith("FallingBehind: at these rates the backlog of 400 rows never empties")
    assert status_notes(stats_of(HOURLY), now) == ()


def test_a_sweep_that_plans_later_windows_is_running_and_one_without_rows_is_planning() -> None:
    planning = msgspec.structs.replace(RUNNING, state=SweepState.PLANNING)
    states = [
        schedule_view("a", Stats(known=True, sweep=sweep), now=105.0).state
        for sweep in (planning, msgspec.structs.replace(planning, mode="DryRun"), Sweep(id="1", tick=1.0, plan=VERSION))
    ]
    assert states == ["Running", "Planning", "Planning"]


def test_a_check_that_waits_is_no_queued_job() -> None:
    stats = Stats(known=True, ready=3, checks=1, oldest_ready=100.0)
    assert schedule_view("a", stats, now=105.0).queue == "2 ready · oldest 5.0 s"
    only = msgspec.structs.replace(stats, ready=1)
    assert schedule_view("a", only, now=105.0).queue == ""
