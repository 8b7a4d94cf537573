"""How long a worker may run after it was stopped: the pod's grace period, and the worker's own limit.

Controller and worker compute both here, from the same plan, so they agree. A stopped worker starts no effect and claims no job.
So only work in progress counts, not the number of rows or the concurrency.
"""

from __future__ import annotations

import math

from kubesweep.api.plan import Plan

SETTLE = 5.0  # seconds to settle the claimed jobs, even if the queue is unavailable
CLOSE = 5.0  # seconds to close the connections and to end a handler's lifespan
HOOK = 2.0  # seconds until a worker that has just started handles SIGTERM
EXIT = 2.0  # seconds to end the threads and the interpreter


def work_seconds(plan: Plan) -> float:
    """The longest time that work in progress may take, in seconds: one effect, one wait for locks, and one write.

    Work that takes longer is cancelled and its jobs are released.
    """
    effect = 0.0
    if plan.effect is not None:
        effect = plan.effect.webhook.timeout if plan.effect.webhook else plan.effect.timeout
    return effect + plan.source.lock_timeout + plan.source.statement_timeout


def grace_seconds(plan: Plan) -> int:
    """terminationGracePeriodSeconds of a worker's pod."""
    return math.ceil(HOOK + work_seconds(plan) + SETTLE + CLOSE + EXIT)


def drain_seconds(plan: Plan) -> float:
    """Seconds after the first SIGTERM at which the process cancels all remaining work."""
    return grace_seconds(plan) - HOOK - EXIT / 2
