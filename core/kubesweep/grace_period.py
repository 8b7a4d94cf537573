"""How long a stopped worker goes on: what the controller gives its pod, and what the worker holds itself to.

Both read it here from the same plan, so that neither promises what the other does not keep. A stop begins no effect and
claims nothing, so the number of rows and the concurrency do not count: only what is under way does.
"""

from __future__ import annotations

import math

from kubesweep.api.plan import Plan

SETTLE = 5.0  # seconds to tell the queue what became of the jobs in hand, even where it is away
CLOSE = 5.0  # seconds to close the connections and to leave a handler's lifespan
HOOK = 2.0  # seconds until a worker that has just started listens to SIGTERM
EXIT = 2.0  # seconds for the end of the threads and of the interpreter


def work_seconds(plan: Plan) -> float:
    """The longest that work which is under way may go on: one effect, then the write of what succeeded, which waits for
    locks once. What takes longer is cut off and given back."""
    effect = 0.0
    if plan.effect is not None:
        effect = plan.effect.webhook.timeout if plan.effect.webhook else plan.effect.timeout
    return effect + plan.source.lock_timeout + plan.source.statement_timeout


def grace_seconds(plan: Plan) -> int:
    """Seconds from the wish to end a worker's pod until it has ended: terminationGracePeriodSeconds of the pod."""
    return math.ceil(HOOK + work_seconds(plan) + SETTLE + CLOSE + EXIT)


def drain_seconds(plan: Plan) -> float:
    """Seconds from the first SIGTERM after which whatever is left is ended by the process itself."""
    return grace_seconds(plan) - HOOK - EXIT / 2
