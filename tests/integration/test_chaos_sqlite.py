"""A SIGKILL of a worker at any moment loses no effect and repeats no write."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from kubesweep.queue.model import SweepState
from tests.integration.chaos import ChaosRun, assert_written_once, make_table, plan_with_effect

ROWS = int(os.environ.get("KUBESWEEP_CHAOS_ROWS", "400000"))
KILLS = int(os.environ.get("KUBESWEEP_CHAOS_KILLS", "200"))


@pytest.mark.slow
async def test_200_kills_over_200000_stale_rows_write_each_row_once_and_keep_the_totals(
    database: str, tmp_path: Path
) -> None:
    seed = int(os.environ.get("KUBESWEEP_CHAOS_SEED", secrets.randbits(32)))
    print(f"seed {seed}")
    make_table(database, ROWS)
    chaos = ChaosRun(
        plan=plan_with_effect(),
        url=database,
        queue_url=f"sqlite:///{tmp_path / 'queue.db'}",
        effects=tmp_path / "effects",
        seed=seed,
        kills=KILLS,
        rows=ROWS // 2,
    )

    stats = await chaos.run()

    sweep = stats.sweep
    assert sweep is not None
    print(f"{chaos.killed} kills: {sweep}")
    assert chaos.killed == KILLS, "the sweep ended before the last kill: more rows are needed"
    assert_written_once(database, chaos.effects, ROWS // 2)
    assert (sweep.state, sweep.balanced, stats.dead) == (SweepState.COMPLETED, True, 0)
    assert sweep.planned >= ROWS // 2
    assert sweep.applied + sweep.unconfirmed + sweep.skipped == sweep.planned
