"""What to do with a job whose earlier deliveries may have crashed their workers. Pure.

A crash does not show which row caused it, because all jobs of the worker are delivered again. So a job is isolated in steps:

1. From the third delivery it runs alone.
2. From the fifth it is bisected: two jobs replace it (``Job.suspect``). Each runs alone, and is bisected at its next delivery.
3. A single row that crashed ``MAX_CRASHES`` workers while it ran alone is dead-lettered. The same number ends planning.

A worker that dies for another reason, or of a job beside it, does not fail a sweep.

A delivery does not prove a crash: the answer to a claim can be lost, and leases expire while the queue is unavailable. So a
worker records the crash in the queue (``Job.crashes``) before it runs a single row, a plan or a check alone. It removes the
record when it releases the job.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from kubesweep.queue.model import Claim, Job

ALONE_FROM = 3  # deliveries
BISECT_FROM = 5  # deliveries
MAX_CRASHES = 5  # while the job ran alone


class RedeliveryPolicy(Enum):
    NORMAL = auto()
    ALONE = auto()
    BISECT = auto()  # replaced by two jobs before anything runs
    GIVE_UP = auto()  # dead-letter the row, or fail the sweep whose planning it is


def deliveries_alone(claim: Claim) -> int:
    """How often this job was delivered to run alone before: a reason to plan less at once, not to give up."""
    return max(0, claim.delivery - ALONE_FROM)


def with_crash(job: Job) -> Job | None:
    """The job with a crash recorded before it runs alone; None for a job of several rows, which is bisected, never given up."""
    if job.rows > 1:
        return None
    return msgspec.structs.replace(job, crashes=job.crashes + 1)


def without_crash(claim: Claim) -> Claim:
    """The claim as it is released: the worker that recorded a crash did not crash."""
    job = msgspec.structs.replace(claim.job, crashes=max(0, claim.job.crashes - 1))
    return msgspec.structs.replace(claim, job=job)


def redelivery_policy(claim: Claim) -> RedeliveryPolicy:
    job = claim.job
    if job.rows <= 1:  # so do plans and checks, which have none
        if job.crashes >= MAX_CRASHES:
            return RedeliveryPolicy.GIVE_UP
        return RedeliveryPolicy.ALONE if job.suspect or claim.delivery >= ALONE_FROM else RedeliveryPolicy.NORMAL
    if claim.delivery >= BISECT_FROM or (job.suspect and claim.delivery > 1):
        return RedeliveryPolicy.BISECT
    return RedeliveryPolicy.ALONE if job.suspect or claim.delivery >= ALONE_FROM else RedeliveryPolicy.NORMAL
