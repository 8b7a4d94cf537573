"""When a suspended schedule may lose its workers. Pure.

No tick fires any more and nothing new is claimed, but what is in a worker's hands ends in peace: pods go when nothing runs,
or when a whole lease has passed, after which whatever still counts as running is in no hands.
"""

from __future__ import annotations

from kubesweep.queue.model import Limits, Stats

LEASE = Limits().lease


def may_park(*, suspended: bool, parked: bool, stats: Stats | None, since: float | None, now: float) -> bool:
    """Whether there should be no worker at all. ``parked``: that is so already. ``since``: when the status first said
    Suspended (seconds since the epoch); None: not yet."""
    if not suspended:
        return False
    waited = since is not None and now - since >= LEASE
    idle = stats is not None and (stats.paused or not stats.known) and stats.running == 0
    return parked or idle or waited
