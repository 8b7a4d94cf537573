"""Pure decisions of the worker: settlements, redelivery, plan versions, breakers and windows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.api.plan import RetryPolicy, RowLimits
from kubesweep.errors import Outage, Reject
from kubesweep.queue.model import Claim, Job, JobKind, PlanVersion
from kubesweep_worker.flow_control.backoff import outage_delay, retry_delay
from kubesweep_worker.flow_control.claim_breaker import BreakerState, ClaimBreaker
from kubesweep_worker.flow_control.receiver_health import ReceiverHealth
from kubesweep_worker.jobs.plan_job import window_rows
from kubesweep_worker.jobs.plan_match import PlanMatch, match_plan
from kubesweep_worker.jobs.redelivery import RedeliveryPolicy, redelivery_policy, with_crash, without_crash
from kubesweep_worker.jobs.rows.settlement import RowFailure, RowResults, build_settlement
from tests.kits.worker import a_plan, key


def a_claim(delivery: int = 1, **job: Any) -> Claim:
    return Claim("1", "me", delivery, Job(**{"kind": JobKind.RANGE, "rows": 100, **job}))


@given(st.integers(-3, 10_000), st.floats(0, 1))
def test_a_retry_waits_for_its_doubled_backoff_or_at_least_for_half_of_it(attempt: int, chance: float) -> None:
    delay = retry_delay(attempt, 2.0, 300.0, lambda: chance)
    full = min(300.0, 2.0 * 2 ** min(max(attempt, 1) - 1, 10))
    assert full / 2 <= delay <= full


def test_an_outage_waits_at_least_as_long_as_it_was_asked_to() -> None:
    assert outage_delay(1, 0.5, 30.0, lambda: 0.0) == 0.25
    assert outage_delay(50, 0.5, 30.0, lambda: 1.0) == 30.0
    assert outage_delay(1, 0.5, 30.0, lambda: 0.0, retry_after=120.0) == 120.0
    assert outage_delay(1, 0.5, 30.0, lambda: 0.0, retry_after=86_400.0) == 300.0


counts = st.integers(0, 150)


@given(counts, counts, counts, counts, counts, st.booleans(), st.booleans(), st.booleans())
def test_every_settlement_adds_up(
    applied: int, skipped: int, failed: int, unspent: int, child: int, rest: bool, maybe: bool, last: bool
) -> None:
    claim = a_claim(attempt=3 if last else 1, may_have_committed=maybe)
    results = RowResults(
        applied,
        skipped,
        [
            RowFailure(key(i), "E", "m", final=i % 7 == 0, retry_after=5.0 if i % 5 == 0 else None)
            for i in range(failed)
        ],
        [RowFailure(key(1000 + i), "Locked", "m") for i in range(unspent)],
    )
    jobs = (Job(JobKind.KEYS, rows=child),) if child else ()
    left = claim.job if rest else None
    s = build_settlement(claim, results, RetryPolicy(max_attempts=3), lambda: 0.5, jobs=jobs, rest=left)
    named = s.applied + s.skipped + s.unconfirmed + len(s.dead) + sum(len(r.rows) for r in s.retry)
    total = named + sum(j.rows for j in s.jobs) + (s.rest.rows if s.rest else 0)
    assert total == claim.job.rows + s.extra
    assert s.unconfirmed == 0 or maybe
    assert min(s.applied, s.skipped, s.unconfirmed, s.extra) >= 0


def test_rows_not_found_are_skipped_at_first_and_unconfirmed_on_a_redelivery() -> None:
    for claim, expected in (
        (a_claim(1), (10, 0)),
        (a_claim(2), (0, 10)),
        (a_claim(1, may_have_committed=True), (0, 10)),
    ):
        s = build_settlement(claim, RowResults(applied=90), RetryPolicy(), lambda: 0.5)
        assert (s.skipped, s.unconfirmed) == expected


def test_rows_without_a_known_cause_keep_their_attempt_number() -> None:
    results = RowResults(
        failed=[RowFailure(key(1), "E", "m")], unspent=[RowFailure(key(2), "Locked", "m", retry_after=60.0)]
    )
    s = build_settlement(a_claim(attempt=2), results, RetryPolicy(), lambda: 0.0)
    assert [(r.attempt, len(r.rows)) for r in s.retry] == [(3, 1), (2, 1)]
    assert s.retry[1].delay == 60.0


@pytest.mark.parametrize(("attempt", "alive"), [(1, True), (2, True), (3, False), (4, False)])
def test_a_row_is_retried_with_the_next_attempt_or_dead_and_never_both(attempt: int, alive: bool) -> None:
    failed = [RowFailure(key(1), "E", "m"), RowFailure(key(2), "E", "m", retry_after=60.0)]
    final = RowFailure(key(3), "E", "m", final=True)
    s = build_settlement(
        a_claim(attempt=attempt), RowResults(failed=[*failed, final]), RetryPolicy(max_attempts=3), lambda: 0.0
    )
    retried = [(row.key, group.attempt) for group in s.retry for row in group.rows]
    assert retried == ([(key(1), attempt + 1), (key(2), attempt + 1)] if alive else [])
    assert [row.key for row in s.dead] == [key(n) for n in ((3,) if alive else (1, 2, 3))]


def test_a_reject_dies_at_once_and_messages_are_bounded() -> None:
    s = build_settlement(
        a_claim(), RowResults(failed=[RowFailure.of(key(1), Reject("x" * 5000))]), RetryPolicy(), lambda: 0.5
    )
    assert len(s.dead[0].message) == 1024
    assert s.retry == ()


@pytest.mark.parametrize(
    ("delivery", "job", "expected"),
    [
        (1, {}, RedeliveryPolicy.NORMAL),
        (2, {}, RedeliveryPolicy.NORMAL),
        (3, {}, RedeliveryPolicy.ALONE),
        (4, {}, RedeliveryPolicy.ALONE),
        (5, {}, RedeliveryPolicy.BISECT),
        (1, {"suspect": True}, RedeliveryPolicy.ALONE),
        (2, {"suspect": True}, RedeliveryPolicy.BISECT),
        (1, {"suspect": True, "rows": 1}, RedeliveryPolicy.ALONE),
        (1, {"suspect": True, "rows": 1, "crashes": 4}, RedeliveryPolicy.ALONE),
        (1, {"suspect": True, "rows": 1, "crashes": 5}, RedeliveryPolicy.GIVE_UP),
        (2, {"rows": 1}, RedeliveryPolicy.NORMAL),
        (99, {"rows": 1, "crashes": 4}, RedeliveryPolicy.ALONE),
        (3, {"rows": 1, "crashes": 5}, RedeliveryPolicy.GIVE_UP),
        (5, {"rows": 2, "crashes": 5}, RedeliveryPolicy.BISECT),
        (2, {"kind": JobKind.PLAN, "rows": 0}, RedeliveryPolicy.NORMAL),
        (3, {"kind": JobKind.PLAN, "rows": 0}, RedeliveryPolicy.ALONE),
        (99, {"kind": JobKind.PLAN, "rows": 0, "crashes": 4}, RedeliveryPolicy.ALONE),
        (3, {"kind": JobKind.PLAN, "rows": 0, "crashes": 5}, RedeliveryPolicy.GIVE_UP),
        (99, {"kind": JobKind.CHECK, "rows": 0, "crashes": 4}, RedeliveryPolicy.ALONE),
        (3, {"kind": JobKind.CHECK, "rows": 0, "crashes": 5}, RedeliveryPolicy.GIVE_UP),
    ],
)
def test_a_job_that_crashes_workers_is_isolated_in_steps(
    delivery: int, job: dict[str, Any], expected: RedeliveryPolicy
) -> None:
    assert redelivery_policy(a_claim(delivery, **job)) is expected


@pytest.mark.parametrize("job", [{"kind": JobKind.PLAN, "rows": 0}, {"kind": JobKind.CHECK, "rows": 0}, {"rows": 1}])
def test_a_job_that_is_not_divided_records_a_crash_and_takes_it_back(job: dict[str, Any]) -> None:
    claim = a_claim(3, crashes=2, **job)
    crashed = with_crash(claim.job)
    assert crashed == msgspec.structs.replace(claim.job, crashes=3)
    assert [without_crash(a_claim(3, crashes=before, **job)).job.crashes for before in (3, 1, 0)] == [2, 0, 0]


def test_a_job_of_several_rows_records_no_crash() -> None:
    assert with_crash(a_claim(3, rows=2).job) is None


def test_only_a_strictly_newer_plan_makes_the_worker_step_aside() -> None:
    mine = PlanVersion(3, "mine")
    assert match_plan(None, mine) is PlanMatch.SAME
    assert match_plan(PlanVersion(9, "mine"), mine) is PlanMatch.SAME
    assert match_plan(PlanVersion(4, "other"), mine) is PlanMatch.OLD_WORKER
    assert match_plan(PlanVersion(2, "other"), mine) is PlanMatch.OLD_JOB
    assert match_plan(PlanVersion(3, "other"), mine) is PlanMatch.OLD_JOB


def test_the_breaker_opens_after_ten_failures_in_a_row_or_half_of_fifty() -> None:
    health = ReceiverHealth()
    for _ in range(9):
        health.record(False)
    assert not health.failing
    health.record(False)
    assert health.failing
    health.reset()
    for _ in range(24):
        health.record(True)
        health.record(False)
    health.record(True)
    assert not health.failing
    assert health.serves_others
    health.record(False)
    assert health.failing
    assert not health.serves_others


def outcomes(pattern: str) -> ReceiverHealth:
    """The health after these calls: ``+`` succeeded, ``-`` failed."""
    health = ReceiverHealth()
    for each in pattern:
        health.record(each == "+")
    return health


def test_half_of_fewer_than_fifty_calls_and_fewer_than_half_of_fifty_are_no_outage() -> None:
    assert not outcomes("-+" * 24 + "-").failing
    assert outcomes("-+" * 25).failing
    assert not outcomes("-+" * 24 + "++").failing
    assert not outcomes("+" + "-" * 9).failing
    assert not ReceiverHealth().serves_others


def test_only_an_open_breaker_is_probed_and_one_that_is_overdue_at_once() -> None:
    breaker = ClaimBreaker(1.0, 8.0, lambda: 0.0)
    assert not breaker.probe_due(9.0)
    assert breaker.trip(Outage("X", "x"), 0.0) == 0.5
    assert breaker.trip(Outage("X", "x"), 9.0) == 0.0
    breaker.half_open()
    assert not breaker.probe_due(9.0)


def test_the_breaker_closes_only_after_a_job_succeeded() -> None:
    breaker = ClaimBreaker(1.0, 8.0, lambda: 1.0)
    assert breaker.allowed(2, 0) == 2
    breaker.trip(Outage("X", "x"), 0.0)
    breaker.trip(Outage("X", "x"), 0.0)
    assert (breaker.consecutive_failures, breaker.allowed(2, 0), breaker.probe_due(0.9), breaker.probe_due(1.0)) == (
        1,
        0,
        False,
        True,
    )
    assert not breaker.record_success()
    breaker.half_open()
    assert (breaker.allowed(2, 0), breaker.allowed(1, 1)) == (1, 0)
    assert breaker.trip(Outage("X", "x"), 1.0) == 2.0
    assert breaker.trip(Outage("X", "x", retry_after=60.0), 1.0) == 60.0
    breaker.half_open()
    assert breaker.record_success()
    assert (breaker.state, breaker.consecutive_failures) == (BreakerState.CLOSED, 0)


def test_a_window_is_bounded_by_workers_by_ten_seconds_of_rate_and_by_the_cap() -> None:
    assert window_rows(a_plan(limits=RowLimits(batch_rows=100), max_replicas=1, jobs_per_replica=10), 0) == 2000
    assert window_rows(a_plan(limits=RowLimits(batch_rows=100, rows_per_second=50.0)), 0) == 500
    assert window_rows(a_plan(limits=RowLimits(batch_rows=1000, rows_per_second=5.0)), 0) == 1000
    assert window_rows(a_plan(limits=RowLimits(batch_rows=100)), 200, cap=250) == 50
    assert window_rows(a_plan(limits=RowLimits(batch_rows=100)), 250, cap=250) == 0


def test_each_worker_that_a_window_crashed_halves_it_down_to_one_batch() -> None:
    plan = a_plan(limits=RowLimits(batch_rows=100), max_replicas=1, jobs_per_replica=10)
    assert [window_rows(plan, 0, kills) for kills in range(6)] == [2000, 1000, 500, 250, 125, 100]
