"""Totals of rows that never decrease and count no sweep twice, whatever observations are lost or repeated."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.queue.model import HISTORY, PlanVersion, Sweep
from kubesweep_controller.rows_total import OUTCOMES, REMEMBERED, RowsTotal

KEY = ("shop", "close-carts")


def a_sweep(number: int, **counts: Any) -> Sweep:
    return Sweep(id=f"s{number}", tick=float(number), plan=PlanVersion(1, "a"), **counts)


def total(rows: RowsTotal, *sweeps: Sweep) -> tuple[int, ...]:
    return tuple(rows.add(KEY, sweeps).values())


def test_what_was_counted_before_the_first_observation_is_left_out() -> None:
    """A new leader starts at zero."""
    rows = RowsTotal()
    running = a_sweep(2, applied=50)
    assert total(rows, running, a_sweep(1, applied=1000)) == (0, 0, 0, 0)
    assert total(rows, msgspec.structs.replace(running, applied=60, skipped=2), a_sweep(1, applied=1000)) == (
        10,
        2,
        0,
        0,
    )


def test_a_sweep_that_began_and_ended_between_two_observations_counts() -> None:
    rows = RowsTotal()
    assert total(rows) == (0, 0, 0, 0)
    assert total(rows, a_sweep(2, applied=7, dead=1), a_sweep(1, applied=3, unconfirmed=2)) == (10, 0, 2, 1)
    assert total(rows, a_sweep(2, applied=7, dead=1), a_sweep(1, applied=3, unconfirmed=2)) == (10, 0, 2, 1)


def test_a_queue_that_serves_an_older_copy_of_its_data_repeats_nothing() -> None:
    rows = RowsTotal()
    total(rows)
    for applied in (100, 90, 0, 95, 100):
        assert total(rows, a_sweep(1, applied=applied)) == (100, 0, 0, 0)
    assert total(rows) == (100, 0, 0, 0)
    assert total(rows, a_sweep(1, applied=101)) == (101, 0, 0, 0)


def test_dead_letters_that_are_retried_do_not_die_twice() -> None:
    rows = RowsTotal()
    total(rows)
    assert total(rows, a_sweep(1, dead=5)) == (0, 0, 0, 5)
    assert total(rows, a_sweep(1, dead=0, applied=3)) == (3, 0, 0, 5)
    assert total(rows, a_sweep(1, dead=2, applied=3)) == (3, 0, 0, 5)


def test_schedules_are_apart_and_a_deleted_one_leaves_nothing() -> None:
    rows = RowsTotal()
    other = ("shop", "other")
    rows.add(KEY, ())
    rows.add(other, ())
    rows.add(KEY, [a_sweep(1, applied=5)])
    assert rows.add(other, [a_sweep(9, applied=2)])["applied"] == 2
    rows.forget(KEY)
    assert rows.add(KEY, [a_sweep(1, applied=5)])["applied"] == 0


def test_the_memory_of_a_schedule_is_bounded() -> None:
    rows = RowsTotal()
    total(rows)
    for number in range(1000):
        found = rows.add(KEY, [a_sweep(each, applied=1) for each in range(number, max(-1, number - HISTORY - 1), -1)])
    assert found["applied"] == 1000
    assert len(rows._counted[KEY]) == REMEMBERED


steps = st.lists(st.tuples(st.sampled_from(OUTCOMES), st.integers(0, 100), st.booleans(), st.booleans()), max_size=60)


@given(steps)
def test_the_totals_are_the_rows_of_all_sweeps_however_they_are_observed(
    steps: list[tuple[str, int, bool, bool]],
) -> None:
    """Each step counts rows in the latest sweep, or first begins another, and is observed or not."""
    rows, number = RowsTotal(), 0
    before: tuple[int, ...] = (0, 0, 0, 0)
    known: list[dict[str, Any]] = []
    total(rows)
    for outcome, count, begins, observed in steps:
        if begins or not known:
            number += 1
            known = [{"number": number, **dict.fromkeys(OUTCOMES, 0)}, *known]
        known[0][outcome] += count
        if observed or len(known) % (HISTORY + 1) == 0:
            found = total(rows, *(a_sweep(**each) for each in known[: HISTORY + 1]))
            assert all(new >= old for new, old in zip(found, before, strict=True))
            before = found
    found = total(rows, *(a_sweep(**each) for each in known[: HISTORY + 1]))
    seen = known if len(known) <= HISTORY + 1 else None
    if seen is not None:
        assert found == tuple(sum(each[name] for each in seen) for name in OUTCOMES)
