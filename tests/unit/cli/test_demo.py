"""The demo's workspace and its comparisons."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kubesweep.errors import SpecError
from kubesweep.queue.model import PlanVersion, Sweep, SweepState
from kubesweep_cli.demo.report import comparisons
from kubesweep_cli.demo.workspace import WorkspaceCounts, count_workspace, make_workspace

DONE = Sweep(
    id="1", tick=100.0, plan=PlanVersion(1, "abc"), state=SweepState.COMPLETED, started=100.0, finished=110.0,
    planned=1000, applied=900, skipped=50, retrying=43, dead=7,
)  # fmt: skip


def test_a_demo_whose_folder_is_gone_is_a_sentence(tmp_path: Path) -> None:
    workspace = make_workspace(100, tmp_path / "workspace")
    assert count_workspace(workspace).stale == 70
    workspace.database.unlink()
    with pytest.raises(SpecError, match="was removed while it ran"):
        count_workspace(workspace)


def test_the_demo_succeeds_only_if_database_and_queue_agree() -> None:
    sweeps = [("a", DONE)]
    right = WorkspaceCounts({"a": 900}, stale=50, notified=900, repeated=0)
    assert all(each.equal for each in comparisons(sweeps, right))
    wrong = (
        WorkspaceCounts({"a": 899}, stale=50, notified=900, repeated=0),
        WorkspaceCounts({"a": 900}, stale=49, notified=900, repeated=0),
        WorkspaceCounts({"a": 900}, stale=50, notified=899, repeated=0),
    )
    for counts in wrong:
        assert not all(each.equal for each in comparisons(sweeps, counts))
    unbalanced = msgspec.structs.replace(DONE, planned=1001)
    assert not comparisons([("a", unbalanced)], right)[0].equal
    assert not comparisons([("a", DONE), ("b", None)], right)[0].equal
