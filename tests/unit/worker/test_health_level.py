"""How fast a sweep may go with these values of the signals."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.queue.model import ACTIVE, LOCK_WAITS, OLDEST_XMIN, QUERY, REPLAY_LAG, HealthLimits, Sample
from kubesweep_worker.flow_control.health_level import FACTORS, MAX_AGE, Aged, Decision, HealthLevel

TABLE = 16384
LAG = HealthLimits(replay_lag=2.0)


def sampled(
    values: dict[str, float | None] | None = None,
    *,
    age: float = 0.0,
    vacuumed: tuple[int, ...] = (),
    problem: str = "",
) -> Aged:
    return Aged(Sample(values or {}, vacuumed, problem), age)


def lag(*seconds: float) -> list[Decision]:
    """What one worker decides for these samples, one after the other."""
    level = HealthLevel()
    return [level.decide(LAG, {"": sampled({REPLAY_LAG: each})}, TABLE) for each in seconds]


@pytest.mark.parametrize(
    ("seconds", "factor", "message"),
    [
        (0.0, 1.0, ""),
        (0.99, 1.0, ""),
        (1.0, 0.5, "slowed to 50%: replay lag 1.0 s of at most 2.0 s"),
        (1.6, 0.25, "slowed to 25%: replay lag 1.6 s of at most 2.0 s"),
        (2.0, 0.0, "paused: replay lag 2.0 s, the limit is 2.0 s"),
        (4.1, 0.0, "paused: replay lag 4.1 s > 2.0 s"),
        (3600.0, 0.0, "paused: replay lag 3600 s > 2.0 s"),
    ],
)
def test_the_closer_to_the_limit_the_slower(seconds: float, factor: float, message: str) -> None:
    (decision,) = lag(seconds)
    assert (decision.factor, decision.message) == (factor, message)
    assert (decision.throttle is None, decision.yields) == (factor == 1.0, False)


def test_it_is_slower_at_once_and_faster_step_by_step() -> None:
    assert [each.factor for each in lag(0.1, 3.0, 0.1, 0.1, 0.1, 0.1, 0.1)] == [1.0, 0.0, 0.1, 0.25, 0.5, 1.0, 1.0]


def test_a_signal_that_stays_close_to_the_limit_does_not_end_a_pause() -> None:
    decisions = lag(2.1, 1.9, 1.7, 1.6, 1.59)
    assert [each.factor for each in decisions] == [0.0, 0.0, 0.0, 0.0, 0.1]
    assert decisions[1].message == "paused: replay lag 1.9 s, faster under 1.6 s"


def test_the_worst_signal_decides() -> None:
    limits = HealthLimits(replay_lag=2.0, oldest_xmin=600.0, lock_waits=5.0)
    values: dict[str, float | None] = {REPLAY_LAG: 0.1, OLDEST_XMIN: 900.0, LOCK_WAITS: 3.0}
    decision = HealthLevel().decide(limits, {"": sampled(values)}, TABLE)
    assert (decision.factor, decision.reason) == (0.0, "OldestXmin")
    assert decision.message == "paused: oldest transaction 900 s > 600 s"


def test_a_vacuum_of_this_table_pauses_and_one_of_another_does_not() -> None:
    limits = HealthLimits(pause_on_vacuum=True)
    here = HealthLevel().decide(limits, {"": sampled(vacuumed=(1, TABLE))}, TABLE)
    assert (here.factor, here.reason, here.message) == (0.0, "Vacuum", "paused: an autovacuum works on the table")
    assert HealthLevel().decide(limits, {"": sampled(vacuumed=(1,))}, TABLE).factor == 1.0
    assert HealthLevel().decide(LAG, {"": sampled({REPLAY_LAG: 0.0}, vacuumed=(TABLE,))}, TABLE).factor == 1.0


def test_a_sweep_yields_to_other_sessions_and_is_not_paused_by_them() -> None:
    level, limits = HealthLevel(), HealthLimits(lock_waits=5.0, yields=True)

    def decide(**values: float) -> tuple[float, str]:
        decision = level.decide(limits, {"": sampled({LOCK_WAITS: 0.0, **values})}, TABLE)
        return decision.factor, decision.message

    assert decide(activeSessions=0.0) == (1.0, "")
    assert decide(activeSessions=1.0) == (0.1, "slowed to 10%: 1 other session uses the database")
    assert decide(activeSessions=500.0) == (0.1, "slowed to 10%: 500 other sessions use the database")
    assert {each.name: (each.value, each.factor) for each in level.signals(0.0)}[ACTIVE] == ("500", 0.1)
    assert decide(activeSessions=0.0) == (0.25, "slowed to 25%: until a moment ago others used the database")
    assert [decide(activeSessions=0.0)[0] for _ in range(3)] == [0.5, 1.0, 1.0]
    decision = level.decide(limits, {"": sampled({LOCK_WAITS: 9.0, ACTIVE: 9.0})}, TABLE)
    assert (decision.factor, decision.reason) == (0.0, "LockWaits")


def test_a_sweep_yields_whichever_signal_is_the_worst_and_only_while_others_use_the_database() -> None:
    level, limits = HealthLevel(), HealthLimits(lock_waits=5.0, yields=True)
    found = []
    for waits, sessions in ((3.0, 0.0), (3.0, 2.0), (9.0, 2.0), (9.0, 0.0), (9.0, 0.0), (9.0, 0.0)):
        decision = level.decide(limits, {"": sampled({LOCK_WAITS: waits, ACTIVE: sessions})}, TABLE)
        found.append((decision.factor, decision.yields))
    assert found == [(0.5, False), (0.1, True), (0.0, True), (0.0, True), (0.0, True), (0.0, False)]


def test_a_sample_of_an_older_worker_without_sessions_pauses_nothing() -> None:
    level = HealthLevel()
    decision = level.decide(HealthLimits(lock_waits=5.0, yields=True), {"": sampled({LOCK_WAITS: 0.0})}, TABLE)
    assert decision.factor == 1.0
    assert [each.name for each in level.signals(0.0)] == [LOCK_WAITS]


def test_the_users_query_has_a_sample_of_its_own() -> None:
    limits = HealthLimits(query="SELECT 1", query_limit=100.0)
    decision = HealthLevel().decide(limits, {"": sampled(), "SELECT 1": sampled({QUERY: 250.0})}, TABLE)
    assert (decision.reason, decision.message) == ("Query", "paused: health.query: 250 > 100")
    missing = HealthLevel().decide(limits, {"": sampled()}, TABLE)
    assert (missing.factor, missing.reason) == (0.0, "Unknown")


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        ({}, "it was not measured yet"),
        ({"": sampled({REPLAY_LAG: 0.0}, age=MAX_AGE + 0.1)}, "it was last measured 5 s ago"),
        (
            {"": sampled({REPLAY_LAG: None}, problem="this user may not see it: GRANT pg_monitor TO app")},
            "replayLag: this user may not see it: GRANT pg_monitor TO app",
        ),
        ({"": sampled()}, "replayLag: it has no value"),
    ],
)
def test_what_is_unknown_pauses_unless_the_spec_says_otherwise(sample: dict[str, Aged], why: str) -> None:
    decision = HealthLevel().decide(LAG, sample, TABLE)
    assert (decision.factor, decision.message) == (0.0, f"paused: the health of the database is unknown: {why}")
    going = HealthLimits(replay_lag=2.0, continue_when_unknown=True)
    decision = HealthLevel().decide(going, sample, TABLE)
    assert (decision.factor, decision.reason) == (1.0, "Unknown")
    assert decision.message == f"the health of the database is unknown: {why}"


def test_an_unknown_signal_pauses_where_another_only_slows_down() -> None:
    limits = HealthLimits(replay_lag=2.0, lock_waits=5.0)
    decision = HealthLevel().decide(limits, {"": sampled({REPLAY_LAG: 1.0})}, TABLE)
    assert (decision.factor, decision.reason) == (0.0, "Unknown")


def test_of_several_unknown_signals_the_first_is_named() -> None:
    limits = HealthLimits(replay_lag=2.0, lock_waits=5.0, query="SELECT 1", query_limit=100.0)
    for_all = HealthLevel().decide(limits, {"": sampled()}, TABLE)
    assert for_all.message.endswith("unknown: replayLag: it has no value")
    limits = HealthLimits(lock_waits=5.0, query="SELECT 1", query_limit=100.0)
    of_the_query = HealthLevel().decide(limits, {"": sampled(), "SELECT 1": sampled({QUERY: 0.0}, age=9.0)}, TABLE)
    assert of_the_query.message.endswith("unknown: lockWaits: it has no value")


def test_a_sample_counts_until_its_age_is_exceeded() -> None:
    assert HealthLevel().decide(LAG, {"": sampled({REPLAY_LAG: 0.0}, age=MAX_AGE)}, TABLE).factor == 1.0


def test_a_known_signal_pauses_where_another_is_unknown_and_ignored() -> None:
    limits = HealthLimits(replay_lag=2.0, lock_waits=5.0, continue_when_unknown=True)
    decision = HealthLevel().decide(limits, {"": sampled({REPLAY_LAG: None, LOCK_WAITS: 9.0})}, TABLE)
    assert (decision.factor, decision.reason) == (0.0, "LockWaits")


def test_the_decision_has_the_reason_of_a_missing_sample() -> None:
    decision = HealthLevel().decide(LAG, {}, TABLE, problem="the queue is silent")
    assert decision.message.endswith("unknown: the queue is silent")


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=50))
def test_it_never_goes_on_at_the_limit_nor_jumps_up(values: list[float]) -> None:
    factors = [each.factor for each in lag(*values)]
    for value, factor in zip(values, factors, strict=True):
        assert factor == 0.0 or value < 2.0
    for before, after in itertools.pairwise(factors):
        assert FACTORS.index(after) >= FACTORS.index(before) - 1


def test_a_query_that_counts_down_to_nothing_is_at_full_speed() -> None:
    limits = HealthLimits(query="x", query_limit=1.0)
    assert HealthLevel().decide(limits, {"x": sampled({QUERY: -5.0})}, TABLE).factor == 1.0


def test_every_signal_is_reported_with_its_value_and_its_limit() -> None:
    limits = HealthLimits(replay_lag=2.0, oldest_xmin=600.0, pause_on_vacuum=True, query="SELECT 1", query_limit=10.0)
    level = HealthLevel()
    sample = sampled({REPLAY_LAG: 1.2, OLDEST_XMIN: None}, vacuumed=(TABLE,), problem="no right")
    level.decide(limits, {"": sample, "SELECT 1": sampled({QUERY: 3.0})}, TABLE)
    assert {each.name: (each.value, each.limit, each.factor) for each in level.signals(0.0)} == {
        "replayLag": ("1.2 s", "2.0 s", 0.5),
        "oldestXmin": ("", "600 s", 0.0),
        "query": ("3", "10", 1.0),
        "pauseOnVacuum": ("running", "running", 0.0),
    }
    level.decide(HealthLimits(oldest_xmin=600.0, continue_when_unknown=True), {"": sample}, TABLE)
    (only,) = level.signals(1.0)
    assert (only.value, only.factor) == ("", 1.0)


def test_the_time_of_a_signal_begins_with_its_speed_and_after_a_gap() -> None:
    level = HealthLevel()

    def seconds(value: float, now: float) -> float:
        level.decide(LAG, {"": sampled({REPLAY_LAG: value})}, TABLE)
        (found,) = level.signals(now)
        return found.seconds

    assert [seconds(0.1, 10.0), seconds(0.4, 11.0), seconds(0.9, 14.0)] == [0.0, 1.0, 4.0]
    assert [seconds(1.1, 15.0), seconds(1.2, 17.0)] == [0.0, 2.0]
    assert seconds(1.2, 17.0 + MAX_AGE + 1) == 0.0


def test_without_a_decision_no_signal_is_known() -> None:
    assert HealthLevel().signals(5.0) == ()
