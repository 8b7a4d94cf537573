"""When the workers of a suspended schedule may be scaled to zero. Pure.

After suspending, no tick fires and no job is claimed, but running jobs finish. Pods are removed when nothing runs, or after a whole
lease: by then no worker owns what still counts as running.
"""

from __future__ import annotations

from kubesweep.queue.model import Limits, Stats

LEASE = Limits().lease


def may_scale_to_zero(*, suspended: bool, at_zero: bool, stats: Stats | None, since: float | None, now: float) -> bool:
    """Whether there should be no worker at all.

    ``at_zero``: there is none already. ``since``: when the status first said Suspended (seconds since the epoch); None: not yet.
    """
    if not suspended:
        return False
    waited = since is not None and now - since >= LEASE
    idle = stats is not None and (stats.paused or not stats.known) and stats.running == 0
    return at_zero or idle or waited
