"""What a slot of a worker does: the phases that ``kubesweep_worker_phase_seconds_total`` counts, as indices of ``PHASES``.

A worker has ``worker.concurrency`` slots. A slot with a job is in the phase of the job, all others are in the phase of the loop, so the
seconds of all phases together are the uptime times the number of slots.
"""

from __future__ import annotations

PHASES = ("idle", "claim", "read", "effect", "write", "settle", "throttled")
(
    IDLE,  # no job waits
    CLAIM,  # the queue is asked for jobs
    READ,  # rows are planned or read; whatever a job does between the other phases
    EFFECT,  # the effects of a sub-batch run
    WRITE,  # rows are written
    SETTLE,  # the queue takes results, and hands out the next jobs in the same call
    THROTTLED,  # waits for the rate, for the health of the database, for the end of a pause, or for an open circuit breaker
) = range(len(PHASES))
