"""Decisions about a claim before any of its rows is touched: whose plan, and how many workers did it kill.

A crash says little about which row did it: everything that the worker held is delivered again. So a job is suspected
slowly (alone from the third delivery, halved from the fifth) and only a single row that killed ``SOLO_KILLS`` workers
while it ran alone is buried. Planning is given up by the same count: workers that die of something else, or of a job
beside it, are no reason to fail a sweep.

A delivery does not prove a crash: the answer to a claim may be lost on its way, and a lease runs out while the queue is
away. So the worker that begins a suspected job alone writes that into the job first (``Job.crashes``), and takes it off when it gives
the job back.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from kubesweep.queue.model import Claim, Job, JobKind, PlanVersion

ALONE_FROM = 3
HALVED_FROM = 5
SOLO_KILLS = 5


class Version(Enum):
    SAME = auto()
    OLD_JOB = auto()  # the job was cut for a plan that mine replaces
    OLD_WORKER = auto()  # the job belongs to a newer plan: not mine to touch


def version(job: PlanVersion | None, mine: PlanVersion) -> Version:
    if job is None or job.same(mine):
        return Version.SAME
    if job.newer_than(mine) and not mine.newer_than(job):
        return Version.OLD_WORKER
    return Version.OLD_JOB


class Care(Enum):
    NORMAL = auto()
    ALONE = auto()
    HALVE = auto()  # alone, and cut in two before anything runs
    BURY = auto()


def lone_deliveries(claim: Claim) -> int:
    """How often this job was handed out to run alone before: reason enough to ask for less, not to give up."""
    return max(0, claim.delivery - ALONE_FROM)


def begins(job: Job) -> Job | None:
    """The job as it has to be in the queue before it runs alone, None where it cannot be buried for what happens then."""
    if job.kind in (JobKind.RANGE, JobKind.KEYS) and job.rows > 1:
        return None
    return msgspec.structs.replace(job, crashes=job.crashes + 1)


def acquitted(claim: Claim) -> Claim:
    """The claim as it goes back: the worker that began its job alone lives."""
    job = msgspec.structs.replace(claim.job, crashes=max(0, claim.job.crashes - 1))
    return msgspec.structs.replace(claim, job=job)


def care(claim: Claim) -> Care:
    job = claim.job
    if job.kind in (JobKind.PLAN, JobKind.CHECK):
        if job.crashes >= SOLO_KILLS:
            return Care.BURY
        return Care.ALONE if claim.delivery >= ALONE_FROM else Care.NORMAL
    if job.rows <= 1:
        if job.crashes >= SOLO_KILLS:
            return Care.BURY
        return Care.ALONE if job.suspect or claim.delivery >= ALONE_FROM else Care.NORMAL
    if claim.delivery >= HALVED_FROM or (job.suspect and claim.delivery > 1):
        return Care.HALVE
    return Care.ALONE if job.suspect or claim.delivery >= ALONE_FROM else Care.NORMAL
