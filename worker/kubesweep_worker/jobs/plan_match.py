"""Compare the plan of a claimed job with the plan of its worker. Every delivery passes this comparison, the first one too."""

from __future__ import annotations

from enum import Enum, auto

from kubesweep.queue.model import PlanVersion


class PlanMatch(Enum):
    SAME = auto()
    OLD_JOB = auto()  # the job was planned with a plan that this worker's plan replaces
    OLD_WORKER = auto()  # the job belongs to a newer plan, so this worker must not touch it


def match_plan(job: PlanVersion | None, worker: PlanVersion) -> PlanMatch:
    if job is None or job.same(worker):
        return PlanMatch.SAME
    return PlanMatch.OLD_JOB if worker.newer_than(job) else PlanMatch.OLD_WORKER
