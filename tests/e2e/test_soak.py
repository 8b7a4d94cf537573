"""Five minutes of the soak: sweeps go on while workers, controllers, queues, databases, the API server, the network and clocks fail.

`make soak` is its long form (tests/soak). Here other tests share the cluster, so the API server is cut off instead of killed.
"""

from __future__ import annotations

import json

import pytest

from tests.cluster.testbed import Bed
from tests.kits.kube_client import Cluster
from tests.soak.soak import Settings, soak

SETTINGS = Settings(minutes=3, schedules=14, seed=20261124, pause=0, alone=False)  # each kind of fault at least once


@pytest.mark.bed
def test_nothing_is_lost_repeated_or_left_behind_while_everything_fails(cluster: Cluster) -> None:
    report = soak(cluster, Bed.selected(), SETTINGS)
    print(json.dumps({key: value for key, value in report.items() if key not in ("faults", "problems")}))
    assert report["problems"] == []
