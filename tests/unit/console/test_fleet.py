"""The fleet page: problems first, one row for each schedule, and a filter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.timestamps import time_text
from kubesweep_console.documents import Schedule
from kubesweep_console.feed import NextTicks
from kubesweep_console.views.fleet import SHOWN, Filter, Fleet, fleet
from tests.kits.console import NOW, condition, schedule, sweep

FAILED = condition("Degraded", "True", "LastSweepFailed", "the table is missing")
SUSPENDED = condition("Suspended", "True")
EVERYTHING = Filter(everything=True)


def shown(*schedules: Schedule, chosen: Filter = EVERYTHING) -> Fleet:
    return fleet(schedules, chosen, NOW, NextTicks(NOW))


def names(found: Fleet) -> list[str]:
    return [f"{row.schedule.namespace}/{row.schedule.name}" for row in found.rows]


def test_problems_are_first_and_suspended_schedules_last() -> None:
    found = shown(
        schedule("a", conditions=[SUSPENDED]),
        schedule("b", lastSweep=sweep()),
        schedule("c", lastSweep=sweep("Running", took=None)),
        schedule("d", conditions=[condition("Degraded", "True", "DeadLetters")]),
        schedule("e", conditions=[FAILED]),
    )
    assert names(found) == ["shop/e", "shop/d", "shop/c", "shop/b", "shop/a"]
    assert [(label, number) for _, label, number in found.counts] == [
        ("in trouble", 1),
        ("with a warning", 1),
        ("running", 1),
        ("fine", 1),
        ("suspended", 1),
    ]


def test_the_filter_takes_a_namespace_and_a_part_of_name_state_or_reason() -> None:
    all_ = (schedule("carts", "shop"), schedule("carts", "test"), schedule("logs", "shop", conditions=[FAILED]))
    assert names(shown(*all_, chosen=Filter(namespace="test"))) == ["test/carts"]
    assert names(shown(*all_, chosen=Filter(text=" CART "))) == ["shop/carts", "test/carts"]
    assert names(shown(*all_, chosen=Filter("shop", "table is"))) == ["shop/logs"]
    found = shown(*all_, chosen=Filter(text="nothing like this"))
    assert (found.rows, found.total, found.found, found.namespaces) == ((), 3, 0, ("shop", "test"))


def test_a_long_list_is_cut_unless_all_are_asked_for() -> None:
    many = [schedule(f"s{number:04}") for number in range(SHOWN + 20)]
    assert (len(shown(*many, chosen=Filter()).rows), shown(*many).found) == (SHOWN, SHOWN + 20)
    assert len(shown(*many).rows) == SHOWN + 20


def test_a_row_has_the_age_the_rows_the_throttle_and_the_next_tick() -> None:
    status: dict[str, Any] = {
        "backlog": {"rows": 12_000, "oldestTime": time_text(NOW - 7300), "inflowPerHour": 40.4, "outflowPerHour": 900},
        "throttle": {"reason": "ReplayLag", "percent": 50},
        "lastSweep": sweep(planned=30),
        "history": [sweep(planned=20), sweep(planned=10)],
    }
    (row,) = shown(schedule(**status)).rows
    assert (row.keep_up.age, row.keep_up.rows, row.throttle) == ("2 h 1 min", "12,000 rows", "ReplayLag, 50 %")
    assert row.keep_up.flow == "40 rows/h become stale, 900 rows/h are finished"
    assert "rows of the last 3 sweeps: from 10 to 30" in row.keep_up.line
    assert row.next_tick is not None
    assert (row.next_tick.clock, row.next_tick.distance) == ("2027-01-15 09:05:00 CET", "in 5 min 0 s")


def test_a_schedule_whose_sweeps_all_reach_their_cap_has_a_line_that_rises() -> None:
    capped = [sweep(planned=50, applied=50, stale=stale) for stale in (140, 100, 60)]
    (row,) = shown(schedule(lastSweep=capped[0], history=[*capped[1:], sweep(planned=40)])).rows
    assert "rows of the last 4 sweeps: from 40 to 140" in row.keep_up.line


@pytest.mark.parametrize(
    ("backlog", "left"),
    [
        ({"rows": 12, "oldestTime": time_text(NOW - 60)}, "1 min 0 s old, 12 rows"),
        ({"oldestTime": time_text(NOW - 60)}, "1 min 0 s old"),
        ({"rows": 1}, "1 row"),
        ({"rows": 0, "oldestTime": time_text(NOW - 60)}, "none left"),
        ({}, ""),
    ],
)
def test_what_is_left_is_said_as_far_as_it_is_known(backlog: dict[str, Any], left: str) -> None:
    assert shown(schedule(backlog=backlog)).rows[0].keep_up.left == left


def test_what_is_not_known_is_left_empty() -> None:
    (row,) = shown(schedule(spec={})).rows
    assert (row.keep_up.age, row.keep_up.rows, row.keep_up.flow, row.keep_up.verdict) == ("", "", "", "")
    assert (row.throttle, row.next_tick, str(row.keep_up.line)) == ("", None, "")


def test_a_suspended_schedule_has_no_next_tick() -> None:
    (row,) = shown(schedule(conditions=[SUSPENDED])).rows
    assert row.next_tick is None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("shop", "test"))), unique=True), st.sampled_from("abcs")
)
def test_a_filter_only_leaves_out(pairs: list[tuple[str, str]], text: str) -> None:
    every = shown(*(schedule(*pair) for pair in pairs))
    some = shown(*(schedule(*pair) for pair in pairs), chosen=Filter(text=text, everything=True))
    assert names(some) == [name for name in names(every) if text in f"{name}\nnever swept"]


def test_the_next_tick_is_computed_again_only_after_it_has_passed() -> None:
    ticks, one = NextTicks(NOW), schedule()
    first = ticks(one)
    assert first == (NOW + 300, "Europe/Berlin")
    ticks.now = NOW + 299
    assert ticks(schedule("another")) == first
    ticks.now = NOW + 300
    assert ticks(one) == (NOW + 600, "Europe/Berlin")
    assert ticks(schedule(spec={"schedule": "not a cron"})) == (None, "UTC")
