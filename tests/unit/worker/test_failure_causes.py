"""What caused the calls that failed: their rows, the receiver, or nobody knows yet."""

from __future__ import annotations

import pytest

from kubesweep.queue.model import Job, JobKind
from kubesweep_worker.jobs.rows.delivery import FailureCause, attribute_failures

ROWS, RECEIVER, UNKNOWN, SPLIT = FailureCause.ROWS, FailureCause.RECEIVER, FailureCause.UNKNOWN, FailureCause.SPLIT
RETRY = Job(JobKind.KEYS, is_retry=True, rows=6)
AGAIN = Job(JobKind.KEYS, is_retry=True, rows=6, attempt=2)


def planned(whole_failures: int = 0) -> Job:
    return Job(JobKind.RANGE, rows=100, whole_failures=whole_failures)


def judged(
    job: Job,
    down: int,
    answered: int = 0,
    *,
    reason: str = "Http500",
    serves_others: bool = False,
    failures: int = 0,
    requested: bool = False,
) -> FailureCause:
    return attribute_failures(
        undelivered=down,
        answered=answered,
        reason=reason,
        job=job,
        serves_others=serves_others,
        consecutive_failures=failures,
        retry_requested=requested,
    )


def test_at_most_half_of_a_sub_batch_refuses_its_rows() -> None:
    assert judged(planned(), 1, 49) is ROWS
    assert judged(planned(), 25, 25) is ROWS
    assert judged(planned(), 26, 25) is RECEIVER
    assert judged(planned(), 30, 20) is RECEIVER


def test_a_receiver_that_is_just_coming_back_refuses_only_rows_that_failed_before() -> None:
    assert judged(planned(), 6, 44, failures=2) is UNKNOWN
    assert judged(RETRY, 1, 5, failures=2) is UNKNOWN
    assert judged(AGAIN, 1, 5, failures=2) is ROWS


def test_rows_that_failed_before_are_the_cause_unless_the_receiver_is_known_to_be_down() -> None:
    assert judged(AGAIN, 6) is ROWS
    assert judged(AGAIN, 6, failures=1) is UNKNOWN
    assert judged(AGAIN, 6, serves_others=True, failures=1) is ROWS
    assert judged(AGAIN, 500, reason="Http503", serves_others=True) is ROWS


@pytest.mark.parametrize(
    "reason", ["Http502", "Http503", "Http504", "Http408", "Http425", "Http429", "Timeout", "Unreachable"]
)
def test_an_answer_of_a_receiver_that_is_down_refuses_no_row(reason: str) -> None:
    assert judged(AGAIN, 6, reason=reason) is UNKNOWN
    assert judged(AGAIN, 1, reason=reason) is UNKNOWN


def test_five_rows_prove_nothing_about_the_receiver() -> None:
    assert judged(planned(), 5, serves_others=True) is ROWS
    assert judged(planned(), 3, 2, serves_others=True) is ROWS
    assert judged(planned(), 4, 2, serves_others=True) is RECEIVER
    assert judged(planned(), 6, serves_others=True) is RECEIVER


def test_a_few_rows_wait_apart_from_their_job_after_five_failures_or_if_they_are_asked_to() -> None:
    assert judged(planned(4), 1, failures=4) is RECEIVER
    assert judged(planned(), 1, failures=5) is UNKNOWN
    assert judged(planned(5), 1) is UNKNOWN
    assert judged(planned(), 1, requested=True) is UNKNOWN
    assert judged(planned(), 6, requested=True) is RECEIVER
    assert judged(RETRY, 5) is UNKNOWN


def test_many_retries_are_split_where_the_receiver_serves_others() -> None:
    assert judged(RETRY, 6, serves_others=True) is SPLIT
    assert judged(RETRY, 6) is RECEIVER


def test_a_job_that_failed_twice_gives_way_to_others_that_the_receiver_serves() -> None:
    assert judged(planned(1), 50, serves_others=True) is RECEIVER
    assert judged(planned(2), 50, serves_others=True) is UNKNOWN
    assert judged(planned(2), 50) is RECEIVER


def test_a_job_whose_rows_all_failed_five_times_is_retried_row_by_row() -> None:
    assert judged(planned(4), 100) is RECEIVER
    assert judged(planned(5), 100) is UNKNOWN
    assert judged(planned(5), 99) is RECEIVER
    assert judged(planned(5), 60, 40) is UNKNOWN
