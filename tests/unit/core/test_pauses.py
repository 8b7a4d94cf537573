"""The times in which a schedule was paused, as the queue keeps them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.queue.model import LONGEST_PAUSES, MAX_PAUSES, Pause, Stats, changed_pauses, parse_pauses, pauses_text

moments = st.floats(0.0, 253_402_300_799.0)


@given(st.lists(moments, max_size=2 * MAX_PAUSES + 1))
def test_a_text_has_all_that_it_was_made_of(times: list[float]) -> None:
    pairs = [Pause(*times[at : at + 2]) for at in range(0, len(times), 2)]
    assert parse_pauses(pauses_text(pairs), max(times, default=0.0)) == tuple(pairs)
    assert len(pauses_text(pairs)) <= LONGEST_PAUSES


@pytest.mark.parametrize("text", ["", " ", "soon", "1 nan", "1 2 x", "9" * (LONGEST_PAUSES + 1)])
def test_a_text_of_another_program_has_no_pause(text: str) -> None:
    assert parse_pauses(text, 1.0) == ()


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 100.0)), max_size=300))
def test_pauses_alternate_and_are_bounded(changes: list[tuple[bool, float]]) -> None:
    pauses: tuple[Pause, ...] = ()
    was, now = False, 1_800_000_000.0
    for paused, seconds in changes:
        pauses, was, now = changed_pauses(pauses, was, paused, now), paused, now + seconds
        assert (bool(pauses) and pauses[-1].end is None) is paused
        assert all(each.end is not None for each in pauses[:-1])
        assert len(pauses) <= MAX_PAUSES + 1


def test_a_pause_that_an_older_version_ended_has_no_known_end() -> None:
    known = (Pause(1.0, 2.0), Pause(5.0))
    assert changed_pauses(known, False, True, 9.0) == (Pause(1.0, 2.0), Pause(9.0))
    assert changed_pauses(known, False, False, 9.0) == (Pause(1.0, 2.0),)
    stats = Stats(known=True, pauses=known)
    assert (stats.paused_since, stats.resumed, stats.unpaused_seconds(0.0, 10.0)) == (None, 2.0, 9.0)


@pytest.mark.parametrize(
    ("since", "until", "seconds"),
    [(0.0, 10.0, 10.0), (0.0, 20.0, 10.0), (12.0, 18.0, 0.0), (15.0, 25.0, 5.0), (0.0, 1e6, 20.0), (9.0, 3.0, 0.0)],
)
def test_time_counts_outside_of_pauses(since: float, until: float, seconds: float) -> None:
    stats = Stats(known=True, paused=True, pauses=(Pause(10.0, 20.0), Pause(30.0)))
    assert stats.unpaused_seconds(since, until) == pytest.approx(seconds)
