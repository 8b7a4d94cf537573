"""``make soak HOURS=8``: the soak with fifty schedules on the test bed, and a fault every minute. See docs/testing.md."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster.lifecycle import running
from tests.cluster.testbed import Bed
from tests.kits.cluster_network import enter_cluster_network
from tests.kits.kube_client import Cluster
from tests.soak.soak import FOLDER, Settings, soak

SCHEDULES, PAUSE = 50, 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=8.0, help="how long faults are injected; 0.25 is a quarter")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeat the faults of another run")
    given = parser.parse_args()
    bed = Bed.selected()
    if not running(bed):
        sys.exit(f"soak: {bed.name} is not running: make cluster images")
    enter_cluster_network(bed)
    settings = Settings(60 * given.hours, SCHEDULES, given.seed, PAUSE, alone=True)
    with tempfile.TemporaryDirectory() as cache:
        report = soak(Cluster(str(bed.kubeconfig), Path(cache) / "discovery.json"), bed, settings, _say)
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    file.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({key: value for key, value in report.items() if key != "faults"}, indent=2))
    print(f"the report is in {file}")
    return 1 if report["problems"] else 0


def _say(line: str) -> None:
    print(f"{time.strftime('%X')}  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
