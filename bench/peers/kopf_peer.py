"""kopf's plain loop, the least that a controller in Python does: one handler that sees every event of SweepSchedules.

``python kopf_peer.py N`` prints a line when it has seen N of them, and goes on.
"""

from __future__ import annotations

import logging
import sys

import kopf

seen: set[str] = set()


@kopf.on.login()
def login(**given: object) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**given)


@kopf.on.event("kubesweep.dev", "v1alpha1", "sweepschedules")
async def saw(uid: str, **_: object) -> None:
    if uid not in seen:
        seen.add(uid)
        if len(seen) == int(sys.argv[1]):
            print("seen", flush=True)


logging.getLogger("kopf").setLevel(logging.ERROR)
kopf.run(clusterwide=True, standalone=True)
