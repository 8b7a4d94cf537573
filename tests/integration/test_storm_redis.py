"""The same promise on a queue that restarts and forgets: a SIGKILL of the server and a FLUSHALL in the middle of the storm."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psycopg
import pytest

from kubesweep.errors import Outage
from kubesweep.queue.model import OpenAnswer, OpenSweep, ScheduleRef, Stats, SweepState
from kubesweep.queue.service import QueueService
from tests.integration.storm import Storm, effects_by_row, make_table, plan_with_effect
from tests.servers import Server, binaries

ROWS = int(os.environ.get("KUBESWEEP_STORM_ROWS", "400000"))
KILLS = int(os.environ.get("KUBESWEEP_STORM_KILLS", "200"))


@dataclass
class WorseStorm(Storm):
    """A third of the kills in, the server dies; two thirds in, it forgets everything, and a tick heals it."""

    server: Server = field(kw_only=True)
    lost: Stats | None = None

    async def _strike(self, queue: QueueService, workers: list[ForkServerProcess], stats: Stats) -> None:
        await super()._strike(queue, workers, stats)
        if self.killed == self.kills // 3 and stats.sweep is not None:
            self.server.kill()
            self.server.start()
        elif self.killed == 2 * self.kills // 3 and self.lost is None:
            with self.server.client() as client:
                client.flushall()
            (self.lost,) = await queue.stats([self.plan.ref])
            opened = await queue.open_sweep(self.plan.ref, OpenSweep(tick=time.time(), plan=self.plan.version))
            assert opened.answer is OpenAnswer.ENQUEUED
        await answering(queue, self.plan.ref)


async def answering(queue: QueueService, ref: ScheduleRef) -> None:
    while True:
        try:
            await queue.stats([ref])
            return
        except Outage:
            continue


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(request.param, appendonly="yes", appendfsync="everysec").start()
    yield made
    made.remove()


@pytest.mark.slow
async def test_kills_a_restart_and_a_flush_write_each_row_once_and_balance_the_books(
    database: str, tmp_path: Path, server: Server
) -> None:
    seed = int(os.environ.get("KUBESWEEP_STORM_SEED", secrets.randbits(32)))
    print(f"seed {seed}")
    make_table(database, ROWS)
    storm = WorseStorm(
        plan=plan_with_effect(),
        url=database,
        queue_url=server.url,
        effects=tmp_path / "effects",
        seed=seed,
        kills=KILLS,
        longest=0.1,  # this queue is fast: the sweep should not end before the storm
        server=server,
    )

    stats = await storm.run()

    sweep = stats.sweep
    assert sweep is not None
    print(f"{storm.killed} kills: {sweep}")
    assert storm.killed == KILLS, "the sweep ended before the storm did: more rows are needed"
    assert storm.lost == Stats()
    with psycopg.connect(database) as connection:
        repeated = connection.execute("SELECT id, count(*) FROM written GROUP BY id HAVING count(*) > 1").fetchall()
        written = connection.execute("SELECT count(*) FROM written").fetchone()
        left = connection.execute("SELECT count(*) FROM conversations WHERE status = 'pending'").fetchone()
    assert repeated == []
    assert written == (ROWS // 2,)
    assert left == (0,)
    effects = effects_by_row(storm.effects)
    assert len(effects) == ROWS // 2
    assert {row for row, keys in effects.items() if len(keys) != 1} == set()
    assert (sweep.state, sweep.balanced, stats.dead) == (SweepState.COMPLETED, True, 0)
    assert sweep.applied + sweep.unconfirmed + sweep.skipped == sweep.planned
