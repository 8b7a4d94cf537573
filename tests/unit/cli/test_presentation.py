"""What the terminal shows for the numbers of the queue. No terminal, no queue."""

from __future__ import annotations

import io
import time

import msgspec
import pytest
from rich.console import Console

from kubesweep.queue.model import THROTTLE, THROTTLE_AGE, Finding, PlanVersion, Stats, Sweep, SweepState, Throttle
from kubesweep_cli.shell.terminal import THEME
from kubesweep_cli.views import formatting
from kubesweep_cli.views.live import HINT, draw
from kubesweep_cli.views.plain import sentence
from kubesweep_cli.views.result_table import COLUMNS, result_table, shown_columns
from kubesweep_cli.views.schedule_view import Meter, ScheduleView, balance, schedule_view
from kubesweep_cli.views.status_table import status_notes

VERSION = PlanVersion(1, "abc")
NOON = 1_772_366_400.0  # 2026-03-01T12:00:00Z
RUNNING = Sweep(
    id="1", tick=100.0, plan=VERSION, state=SweepState.RUNNING, started=100.0,
    planned=1000, applied=400, skipped=50, retrying=50, dead=0,
)  # fmt: skip
DONE = msgspec.structs.replace(RUNNING, state=SweepState.COMPLETED, applied=900, dead=7, retrying=43, finished=110.0)


def text_of(what: object, width: int = 100, height: int = 40) -> str:
    console = Console(
        file=io.StringIO(), width=width, height=height, theme=THEME, force_terminal=True, color_system=None
    )
    console.print(what)
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0.0 s"), (0.34, "0.3 s"), (9.96, "10 s"), (59.4, "59 s"), (59.7, "1 min 0 s"), (75, "1 min 15 s"),
        (7300, "2 h 1 min"), (200_000, "2 d 7 h"),
    ],
)  # fmt: skip
def test_a_duration_is_as_fine_as_it_is_short(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("speed", "text"),
    [(None, ""), (0.0, "0.0 rows/s"), (7.26, "7.3 rows/s"), (11_234.5, "11,200 rows/s"), (999_999, "1,000,000 rows/s")],
)
def test_a_rate_has_three_digits_that_count(speed: float | None, text: str) -> None:
    assert formatting.rate(speed) == text


def test_a_share_is_never_a_hundred_before_the_end() -> None:
    assert formatting.percent(99_999, 100_000) == "99 %"
    assert formatting.percent(100_000, 100_000) == "100 %"
    assert formatting.percent(0, 0) == "0 %"


def test_one_row_is_not_rows() -> None:
    assert (formatting.rows(1), formatting.rows(2000)) == ("1 row", "2,000 rows")


def test_the_meter_has_no_rate_in_its_first_second_and_follows_the_last_five() -> None:
    meter = Meter()
    assert meter.feed(0.0, 0) is None
    assert meter.feed(0.5, 900) is None
    assert meter.feed(1.0, 1000) == 1000.0
    for second in range(2, 30):
        last = meter.feed(float(second), 1000)
    assert last == 0.0


def test_a_rate_of_zero_needs_a_whole_window() -> None:
    meter = Meter()
    assert [meter.feed(at, 0) for at in (0.0, 1.0, 4.5)] == [None, None, None]
    assert meter.feed(5.0, 0) == 0.0


def test_a_total_that_shrinks_is_a_new_sweep_to_the_meter() -> None:
    meter = Meter()
    meter.feed(0.0, 500)
    meter.feed(2.0, 900)
    assert meter.feed(3.0, 10) is None
    assert meter.feed(5.0, 210) == 100.0


def test_a_running_sweep_shows_share_and_time_left() -> None:
    seen = schedule_view("a", Stats(known=True, sweep=RUNNING, ready=3), now=105.0, speed=100.0, clock=False)
    assert (seen.planned, seen.settled, seen.active, seen.left) == (1000, 500, True, 5.0)
    assert seen.queue == "3 ready"


def test_while_planning_there_is_no_time_left() -> None:
    planning = msgspec.structs.replace(RUNNING, state=SweepState.PLANNING)
    seen = schedule_view("a", Stats(known=True, sweep=planning), now=105.0, speed=100.0)
    assert seen.planning
    assert seen.left is None
    assert "so far" in text_of(draw([seen], Console(width=100, height=40)))


def test_a_completed_sweep_with_dead_rows_is_not_green() -> None:
    assert schedule_view("a", Stats(known=True, sweep=DONE), now=120.0).tone == "warn"
    clean = msgspec.structs.replace(DONE, dead=0, applied=907)
    assert schedule_view("a", Stats(known=True, sweep=clean), now=120.0).tone == "good"


def test_a_completed_sweep_shows_its_own_average() -> None:
    assert schedule_view("a", Stats(known=True, sweep=DONE), now=999.0, speed=0.0).rate == 100.0


def test_a_problem_that_a_worker_reported_is_a_note() -> None:
    bad = Finding("SourceReady", False, "Unreachable", "no connection", VERSION)
    good = Finding("Effect", True, "Loaded", "fine", VERSION)
    assert schedule_view("a", Stats(known=True, findings=(bad, good)), now=0.0).notes == ("Unreachable: no connection",)


def test_a_suspended_schedule_says_so() -> None:
    seen = schedule_view("a", Stats(), now=0.0, suspended=True)
    assert (seen.state, seen.next) == ("suspended", "suspended: no ticks")


def test_the_next_tick_is_a_time_and_a_distance() -> None:
    seen = schedule_view("a", Stats(), now=1000.0, next_tick=1075.0)
    assert seen.next == f"next tick {formatting.local_time(1075.0)}, in 1 min 15 s"
    seen = schedule_view("a", Stats(), now=NOON - 3 * 3600, next_tick=NOON, time_zone="Europe/Berlin")
    assert seen.next == "next tick 2026-03-01 13:00 Europe/Berlin, in 3 h 0 min"


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "2026-03-01 12:00:00Z"),
        ("Europe/Berlin", "2026-03-01 13:00:00+01:00"),
        ("America/St_Johns", "2026-03-01 08:30:00-03:30"),
    ],
)
def test_a_time_has_its_date_and_its_offset(zone: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert formatting.local_time(NOON + 0.75) == text
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_tick_of_cron_has_the_zone_of_its_schedule() -> None:
    assert formatting.tick_time(NOON, "America/Sao_Paulo") == "2026-03-01 09:00 America/Sao_Paulo"
    assert formatting.tick_time(NOON, "Etc/UTC") == "2026-03-01 12:00 UTC"


def test_the_balance_is_an_equation_or_says_that_it_is_not() -> None:
    assert balance([DONE, DONE]) == (
        "2,000 planned = 1,800 applied + 100 skipped + 0 unconfirmed + 86 retrying + 14 dead"
    )
    assert balance([RUNNING]).startswith("1,000 planned ≠ 500 = 400 applied")
    halted = msgspec.structs.replace(RUNNING, state=SweepState.HALTED)
    assert balance([halted]).endswith(" + 50 retrying + 0 dead + 500 not reached")
    assert "≠" not in balance([halted])


def test_a_plain_line_leaves_out_what_is_zero() -> None:
    seen = schedule_view("a", Stats(known=True, sweep=RUNNING), now=105.0, speed=100.0)
    assert sentence(seen) == (
        "a: Running, 500 of 1,000 rows, 50 %, applied 400, skipped 50, retrying 50, 100 rows/s, 5.0 s left"
    )


def test_a_stalled_sweep_says_what_it_may_wait_for() -> None:
    stalled = Stats(known=True, sweep=RUNNING, running=2, first_lease=130.0)
    (note,) = schedule_view("a", stalled, now=105.0, speed=0.0).notes
    assert note == "no row for 5 s, 2 jobs are running: a statement or an effect takes long"
    (note,) = schedule_view("a", stalled, now=118.0, speed=0.0).notes
    assert note == "no row for 5 s, 2 jobs are running: jobs of a killed worker are delivered again in 12 s"
    assert schedule_view("a", stalled, now=105.0, speed=3.0).notes == ()
    assert schedule_view("a", Stats(known=True, sweep=DONE, running=2), now=105.0, speed=0.0).notes == ()


def test_a_sweep_that_an_outage_stalls_names_the_outage_and_no_killed_worker() -> None:
    locked = Finding("SourceReady", False, "LockNotAvailable", "table carts: it is locked", VERSION, at=104.0)
    stalled = Stats(known=True, sweep=RUNNING, running=2, first_lease=106.0, findings=(locked,))
    expected = ("LockNotAvailable: table carts: it is locked",)
    assert schedule_view("a", stalled, now=105.0, speed=0.0).notes == status_notes(stalled, 105.0) == expected
    done = msgspec.structs.replace(DONE, finished=110.0)
    assert schedule_view("a", Stats(known=True, sweep=done, findings=(locked,)), now=120.0).notes == ()
    assert status_notes(Stats(known=True, sweep=DONE, findings=(locked,)), 120.0) == ()


def test_a_reason_that_a_finding_has_too_is_shown_once() -> None:
    ended = msgspec.structs.replace(DONE, state=SweepState.FAILED, reason="MatchFails", message="correct the sql")
    found = Finding("SourceReady", False, "MatchFails", "correct the sql", VERSION, at=104.0)
    expected = "MatchFails: correct the sql"
    assert schedule_view("a", Stats(known=True, sweep=ended, findings=(found,)), now=120.0).notes == (expected,)
    assert schedule_view("a", Stats(known=True, sweep=ended), now=120.0).notes == ("correct the sql",)


@pytest.mark.parametrize("state", [SweepState.HALTED, SweepState.FAILED])
def test_the_status_of_a_sweep_that_halted_or_failed_says_why(state: SweepState) -> None:
    ended = msgspec.structs.replace(DONE, state=state, reason="Flood", message="50 rows died of E and none was applied")
    locked = Finding("SourceReady", False, "LockNotAvailable", "table carts: it is locked", VERSION, at=104.0)
    stats = Stats(known=True, sweep=ended, findings=(locked,))
    assert status_notes(stats, 120.0) == ("Flood: 50 rows died of E and none was applied",)
    replaced = msgspec.structs.replace(ended, state=SweepState.SUPERSEDED)
    assert status_notes(Stats(known=True, sweep=replaced, history=(ended,)), 120.0) == ()


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("Flood", "halts at its end unless a row is applied"),
        ("WriteRefused", "fails at its end unless a row is applied"),
        ("TooManyFailedRows", "halts at its end"),
    ],
)
def test_a_sweep_that_halts_at_its_end_says_that_it_continues(reason: str, end: str) -> None:
    failing = msgspec.structs.replace(RUNNING, reason=reason, message="too many rows fail")
    (note,) = status_notes(Stats(known=True, sweep=failing), 105.0)
    assert note == f"too many rows fail. The sweep continues with its other rows and {end}"


def test_a_sweep_after_an_edit_says_which_jobs_it_waits_for() -> None:
    before = msgspec.structs.replace(RUNNING, state=SweepState.SUPERSEDED, open_jobs=2)
    after = Sweep(id="s2", tick=100.0, plan=VERSION, started=100.0, open_jobs=1)
    waiting = Stats(known=True, sweep=after, history=(before,), running=2, delayed=1, first_lease=130.0)
    (note,) = status_notes(waiting, 105.0)
    assert note == "starts when 2 jobs of the previous sweep end, or 30 s after their worker was killed"


def test_a_dry_run_says_what_it_would_sweep_and_shows_no_outcomes() -> None:
    dry = msgspec.structs.replace(DONE, mode="DryRun", applied=0, skipped=0, retrying=0, dead=0)
    seen = schedule_view("a", Stats(known=True, sweep=dry), now=120.0, clock=False)
    assert sentence(seen) == "a: Completed, DryRun, would sweep 1,000 rows"
    view = text_of(draw([seen], Console(width=100, height=40)))
    assert "would sweep 1,000 rows" in view
    assert "applied" not in view
    assert text_of(result_table([("a", dry)])).count(" - ") == 5


def test_the_table_has_every_schedule_and_their_sum() -> None:
    text = text_of(result_table([("one", DONE), ("two", DONE), ("three", None)], took=12.0), width=120)
    assert [name for name in COLUMNS if name in text] == list(COLUMNS)
    assert "1,800" in text
    assert "not swept" in text
    assert "in 12 s" in text


def test_a_narrow_table_keeps_every_number_whole() -> None:
    big = msgspec.structs.replace(DONE, planned=1_000_000, applied=999_950)
    for name in ("process-expired-conversations", "b" * 45):
        text = text_of(result_table([(name, big), (name, big)], width=80), width=80)
        assert "2,000,000" in text
        assert "1,999,900" in text
        assert "…" not in text
        assert max(len(line) for line in text.splitlines()) <= 80


def test_unconfirmed_is_never_hidden_when_there_is_some() -> None:
    some = msgspec.structs.replace(DONE, unconfirmed=1)
    assert "unconfirmed" not in shown_columns([DONE], narrow=True)
    assert "unconfirmed" in shown_columns([DONE, some], narrow=True)
    assert shown_columns([DONE], narrow=False) == COLUMNS


def test_a_view_that_does_not_fit_becomes_one_line_a_schedule_and_says_how_many_are_hidden() -> None:
    many = [schedule_view(f"s{number:02}", Stats(known=True, sweep=DONE), now=0.0) for number in range(30)]
    many.append(schedule_view("busy", Stats(known=True, sweep=RUNNING), now=0.0))
    console = Console(width=80, height=24)
    lines = text_of(draw(many, console, HINT), width=80, height=24).splitlines()
    assert len(lines) <= 24
    assert lines[0].strip().startswith("busy")
    assert any("and 10 more" in line for line in lines)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_of_the_view_touches_the_edge_where_a_control_c_is_echoed(width: int) -> None:
    seen = schedule_view("a" * 45, Stats(known=True, sweep=RUNNING, ready=9, running=2), now=105.0, speed=3.0)
    lines = text_of(draw([seen], Console(width=width, height=40), HINT), width=width).rstrip("\n").splitlines()
    assert max(len(line) for line in lines) <= width
    assert len(lines[-1].rstrip()) <= width - 3


def test_text_that_looks_like_markup_is_shown_as_it_is() -> None:
    one = ScheduleView("[bold]x[/bold]", "Failed", "bad", notes=("[red]TableMissing[/red]: no such table",))
    text = text_of(draw([one], Console(width=100, height=40)))
    assert "[bold]x[/bold]" in text
    assert "[red]TableMissing[/red]" in text


def test_a_signal_of_the_database_is_shown_while_workers_report_it() -> None:
    throttle = Throttle(0.0, "4.1 s", "2.0 s")
    finding = Finding(THROTTLE, False, "ReplayLag", "paused: replay lag 4.1 s > 2.0 s", VERSION, 105.0, throttle)
    stats = Stats(known=True, running=2, sweep=RUNNING, findings=(finding,))
    assert schedule_view("carts", stats, now=120.0, speed=0.0).notes == ("paused: replay lag 4.1 s > 2.0 s",)
    assert "paused: replay lag 4.1 s > 2.0 s" in text_of(draw([schedule_view("carts", stats, now=120.0)], Console()))
    later = 105.0 + THROTTLE_AGE + 1
    assert "replay lag" not in str(schedule_view("carts", stats, now=later, speed=0.0).notes)
    next_sweep = msgspec.structs.replace(stats, sweep=msgspec.structs.replace(RUNNING, started=106.0))
    assert schedule_view("carts", next_sweep, now=120.0).notes == ()
