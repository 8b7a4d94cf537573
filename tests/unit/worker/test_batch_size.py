"""The size of a batch follows the time that batches take."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep_worker.flow_control.batch_size import SLOW, BatchSize

AIM = 0.2


def sizes(batch: BatchSize, cost: float, batches: int, overhead: float = 0.0) -> list[int]:
    """The sizes after each of some full batches whose rows cost ``cost`` seconds each."""
    found = []
    for _ in range(batches):
        rows = batch.most
        batch.record(rows, rows, overhead + rows * cost)
        found.append(batch.most)
    return found


def test_quick_batches_stay_at_the_ceiling() -> None:
    assert set(sizes(BatchSize(1000, "p", AIM), 0.0001, 20)) == {1000}


def test_a_batch_that_takes_five_times_the_aim_makes_the_next_one_smaller_at_once() -> None:
    batch = BatchSize(1000, "p", AIM)
    batch.record(1000, 1000, 1.25)
    assert batch.most == 160


def test_a_batch_that_takes_far_too_long_makes_the_next_one_an_eighth() -> None:
    batch = BatchSize(1000, "p", AIM)
    batch.record(1000, 1000, 60.0)
    assert batch.most == 125


def test_a_batch_above_the_aim_reduces_the_size_to_what_takes_as_long_as_the_aim() -> None:
    batch = BatchSize(1000, "p", AIM)
    batch.record(1000, 1000, 0.8)
    assert batch.most == 250


def test_the_size_grows_by_a_fifth_rounded_up_after_each_full_batch() -> None:
    batch = BatchSize(100, "p", AIM)
    batch.record_timeout(8)
    assert sizes(batch, 0.0001, 8) == [2, 3, 4, 5, 6, 8, 10, 12]


def test_a_batch_with_fewer_rows_than_the_size_never_makes_it_larger() -> None:
    batch = BatchSize(100, "p", AIM)
    batch.record_timeout(80)
    for _ in range(20):
        batch.record(9, 9, 0.0001)
    assert batch.most == 10


def test_a_batch_whose_rows_were_mostly_skipped_does_not_make_the_size_larger() -> None:
    batch = BatchSize(100, "p", AIM)
    batch.record_timeout(80)
    for changed in (0, 1, 4):
        batch.record(10, changed, 0.0001)
    assert batch.most == 10
    batch.record(10, 5, 0.0001)
    assert batch.most == 12


def test_a_ceiling_limits_the_size_and_what_was_learnt_stays() -> None:
    batch = BatchSize(1000, "p", AIM)
    sizes(batch, 0.0004, 5)
    learnt = batch.most
    assert learnt == 500
    batch.set_aim(AIM, 200)
    assert set(sizes(batch, 0.0004, 5)) == {200}
    assert batch.take_hint() == "p 500"
    batch.record(200, 200, 2 * AIM)  # too slow even so
    assert batch.most < 200
    assert sizes(batch, 0.0001, 20)[-1] == 200
    batch.set_aim(AIM)
    assert 200 < batch.most < learnt


def test_the_average_is_over_changed_rows() -> None:
    batch = BatchSize(100, "p", AIM)
    batch.record(100, 50, AIM)  # 4 ms for each of them
    assert batch.most == 50


def test_a_small_batch_above_the_aim_makes_the_size_smaller() -> None:
    """An effect's sub-batches have 50 rows, so a size of 1000 is never full."""
    batch = BatchSize(1000, "p", AIM)
    batch.record(50, 50, 0.5)
    assert batch.most == 20


def test_one_slow_row_does_not_stay_in_the_average() -> None:
    batch = BatchSize(100, "p", AIM)
    sizes(batch, 0.0001, 5)
    batch.record(100, 100, 10.0)
    assert batch.most == 13
    assert sizes(batch, 0.0001, 12)[-1] == 100


def test_a_timeout_that_a_single_row_explains_is_withdrawn() -> None:
    batch = BatchSize(1000, "p", AIM)
    outer = batch.record_timeout(1000)
    inner = batch.record_timeout(125)
    assert batch.most == 16
    batch.withdraw(inner)
    assert batch.most == 125
    batch.withdraw(outer)
    assert batch.most == 1000


def test_a_timeout_is_not_withdrawn_where_other_batches_were_slow_too() -> None:
    batch = BatchSize(1000, "p", AIM)
    shrink = batch.record_timeout(1000)
    batch.record(125, 125, 0.5)
    batch.withdraw(shrink)
    assert batch.most == 50


def test_a_new_aim_applies_to_the_next_batch() -> None:
    batch = BatchSize(1000, "p", AIM)
    sizes(batch, 0.0002, 1)
    assert batch.most == 1000
    batch.set_aim(0.02)
    assert batch.most == 100
    batch.set_aim(2.0)
    assert sizes(batch, 0.0002, 2) == [120, 144]


def test_the_aim_stays_below_the_statement_timeout() -> None:
    batch = BatchSize(1000, "p", 30.0, statement_timeout=1.0)
    assert sizes(batch, 0.001, 1) == [200]


def test_a_size_is_sent_once_and_wins_over_what_the_queue_had_before() -> None:
    batch = BatchSize(1000, "hash", AIM)
    assert batch.take_hint() is None
    batch.record_timeout(1000)
    batch.apply_hint("hash 500")
    assert (batch.most, batch.take_hint(), batch.take_hint()) == (125, "hash 125", None)
    batch.apply_hint("")  # an answer that the queue gave before
    assert batch.most == 125
    batch.apply_hint("hash 125")
    assert batch.most == 125
    batch.apply_hint("hash 250")  # of another worker
    assert batch.most == 250
    batch.apply_hint("")
    assert batch.most == 1000
    batch.apply_hint("hash 250")
    batch.apply_hint("other 10")
    assert batch.most == 1000


def test_a_size_that_changes_by_little_is_not_sent_until_it_is_the_ceiling_again() -> None:
    batch = BatchSize(100, "hash", AIM)
    batch.record(100, 100, 0.21)
    assert (batch.most, batch.take_hint()) == (95, None)
    batch.record(95, 95, 0.5)
    assert (batch.most, batch.take_hint()) == (59, "hash 59")
    grown = []
    while batch.most < 100:
        sizes(batch, 0.0, 1)
        grown.append(batch.take_hint())
    assert grown == ["hash 71", "hash 86", ""]


@given(
    limit=st.integers(1, 10_000),
    steps=st.lists(
        st.tuples(
            st.integers(1, 10_000),
            st.integers(0, 10_000),
            st.floats(0, 100),
            st.sampled_from(["record", "full", "timeout", "aim", "explained"]),
        ),
        max_size=40,
    ),
)
def test_the_size_stays_in_its_bounds_and_grows_by_a_fifth_at_most(
    limit: int, steps: list[tuple[int, int, float, str]]
) -> None:
    batch = BatchSize(limit, "p", AIM, 30.0)
    for rows, changed, seconds, kind in steps:
        before, rows = batch.most, batch.most if kind == "full" else min(rows, limit)
        if kind == "aim":
            batch.set_aim(max(0.01, seconds))
        elif kind in ("timeout", "explained"):
            shrink = batch.record_timeout(rows)
            assert batch.most <= max(1, math.ceil(rows / 2))
            if kind == "explained":
                batch.withdraw(shrink)
                assert batch.most == before
        else:
            batch.record(rows, min(rows, changed), seconds)
        assert 1 <= batch.most <= limit
        assert batch.most <= math.ceil(before * 1.2)


@given(
    limit=st.integers(1, 10_000),
    start=st.integers(1, 10_000),
    cost=st.floats(1e-6, 1.0),
    overhead=st.floats(0, AIM / 2),
)
def test_a_constant_cost_leads_to_the_aim(limit: int, start: int, cost: float, overhead: float) -> None:
    batch = BatchSize(limit, "p", AIM)
    batch.apply_hint(f"p {start}")
    last = sizes(batch, cost, 200, overhead)[-20:]
    best = min(limit, max(1.0, (AIM - overhead) / cost))
    assert all(0.8 * best - 1 <= size <= 1.25 * best + 1 for size in last), (best, last)


@pytest.mark.parametrize("factor", [0.99, 1.0])
def test_five_times_the_aim_is_the_limit_of_what_an_average_decides(factor: float) -> None:
    batch = BatchSize(1000, "p", AIM)
    sizes(batch, 0.00001, 10)
    batch.record(1000, 1000, factor * SLOW * AIM)
    assert (batch.most < 400) is (factor == 1.0)
