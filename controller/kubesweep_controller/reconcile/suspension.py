"""When a suspended schedule may lose its workers. Pure.

After suspending, no tick fires and no job is claimed, but running jobs finish. Pods are removed when nothing runs, or after a whole
lease: by then no worker owns what still counts as running.
"""

from __future__ import annotations

from kubesweep.queue.model import Limits, Stats

LEASE = Limits().lease


def may_park(*, suspended: bool, parked: bool, stats: Stats | None, since: float | None, now: float) -> bool:
    """Whether there should be no worker at all.

    ``parked``: there is none already. ``since``: when the status first said Suspended (seconds since the epoch); None: not yet.
    """
    if not suspended:
        return False
    waited = since is not None and now - since >= LEASE
    idle = stats is not None and (stats.paused or not stats.known) and stats.running == 0
    return parked or idle or waited
