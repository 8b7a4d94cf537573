"""What a run keeps about a schedule between two readings of the queue."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kubesweep.api.loading.files import load
from kubesweep.queue.model import PlanVersion, Stats, Sweep, SweepState
from kubesweep_cli.runner.progress import ScheduleProgress

SCHEDULE = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: close-carts}
spec:
  schedule: "@daily"
  source: {urlFrom: {secretKeyRef: {name: db, key: url}}, table: carts}
  match: [{column: status, in: [open]}]
  write: {update: [{column: status, value: abandoned}]}
"""


def a_sweep(name: str, planned: int = 0, applied: int = 0, retrying: int = 0) -> Sweep:
    done = Sweep(id=name, tick=float(len(name)), plan=PlanVersion(0, "a"), state=SweepState.COMPLETED)
    return msgspec.structs.replace(done, planned=planned, applied=applied, retrying=retrying)


@pytest.fixture
def progress(tmp_path: Path) -> ScheduleProgress:
    path = tmp_path / "sweep.yaml"
    path.write_text(SCHEDULE)
    (loaded,) = load([path], url="sqlite:///shop.db")
    return ScheduleProgress(loaded, 0.0)


def test_rows_in_retry_from_an_earlier_sweep_are_reported_with_their_outcome(
    progress: ScheduleProgress,
) -> None:
    before = a_sweep("before", planned=30, applied=9, retrying=21)
    progress.update(Stats(known=True, sweep=before), 1.0)
    assert progress.settled_earlier == ()
    after = msgspec.structs.replace(before, applied=28, skipped=1, dead=1, retrying=0)
    progress.update(Stats(known=True, sweep=a_sweep("now"), history=(after,)), 2.0)
    assert progress.settled_earlier == ((after, {"applied": 19, "skipped": 1, "dead": 1}),)


def test_an_earlier_sweep_without_a_change_is_not_reported(progress: ScheduleProgress) -> None:
    before = a_sweep("before", planned=30, applied=9, retrying=21)
    progress.update(Stats(known=True, sweep=a_sweep("latest"), history=(before,)), 1.0)
    progress.update(Stats(known=True, sweep=a_sweep("now"), history=(a_sweep("latest"), before)), 2.0)
    assert progress.settled_earlier == ()
