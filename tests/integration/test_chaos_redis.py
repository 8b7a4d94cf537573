"""Workers are killed, and the queue restarts and loses its data: no effect is lost and no write is repeated."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from kubesweep.api.loading.files import load
from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep.queue.model import OpenResult, ScheduleRef, Stats, SweepState
from kubesweep.queue.service import QueueService
from kubesweep_cli.runner.progress import ScheduleProgress
from tests.integration.chaos import ChaosRun, assert_written_once, make_table, plan_with_effect
from tests.kits.servers import Server, binaries

ROWS = int(os.environ.get("KUBESWEEP_CHAOS_ROWS", "400000"))
KILLS = int(os.environ.get("KUBESWEEP_CHAOS_KILLS", "200"))
SCHEDULE = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: chaos}
spec:
  schedule: "@yearly"
  source: {urlFrom: {secretKeyRef: {name: db, key: url}}, table: conversations}
  match: [{column: status, in: [pending]}]
  write: {update: [{column: status, value: expired}]}
"""


@dataclass
class QueueChaosRun(ChaosRun):
    """After a third of the kills the server restarts; after two thirds it loses its data.

    ``watcher`` is the state of ``kubesweep run``: it detects the loss, opens the sweep again, and has the states that it shows.
    """

    server: Server = field(kw_only=True)
    watcher: ScheduleProgress = field(kw_only=True)
    shown: list[str] = field(default_factory=list)
    restarted: bool = False
    flushed: bool = False

    async def _kill_one(self, queue: QueueService, workers: list[ForkServerProcess], stats: Stats) -> None:
        await self.watch(queue, stats)
        await super()._kill_one(queue, workers, stats)
        if self.killed == self.kills // 3 and not self.restarted:
            self.server.kill()
            self.server.start()
            self.restarted = True
        elif self.killed == 2 * self.kills // 3 and not self.flushed and stats.sweep is not None:
            with self.server.client() as client:
                client.flushall()
            self.flushed = True
            self.rows -= stats.sweep.settled_rows
        await until_answering(queue, self.plan.ref)

    async def watch(self, queue: QueueService, stats: Stats) -> None:
        now = time.time()
        if (lost := self.watcher.update(stats, now)) is not None:
            opened = await queue.open_sweep(self.plan.ref, self.watcher.recovery_request(lost, now))
            assert opened.answer is OpenResult.ENQUEUED
            self.watcher.watch(opened)
        if (state := self.watcher.view(now, clock=False).state) not in self.shown[-1:]:
            self.shown.append(state)


def new_watcher(plan: Plan, folder: Path) -> ScheduleProgress:
    file = folder / "chaos.yaml"
    file.write_text(SCHEDULE)
    (loaded,) = load([file], url="sqlite:///unused.db")
    return ScheduleProgress(replace(loaded, plan=plan), started=time.time())


async def until_answering(queue: QueueService, ref: ScheduleRef) -> None:
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
async def test_kills_a_restart_and_a_flush_write_each_row_once_and_keep_the_totals(
    database: str, tmp_path: Path, server: Server
) -> None:
    seed = int(os.environ.get("KUBESWEEP_CHAOS_SEED", secrets.randbits(32)))
    print(f"seed {seed}")
    make_table(database, ROWS)
    plan = plan_with_effect()
    chaos = QueueChaosRun(
        plan=plan,
        url=database,
        queue_url=server.url,
        effects=tmp_path / "effects",
        seed=seed,
        kills=KILLS,
        longest=0.1,  # this queue is fast: the sweep should not end before the last kill
        rows=ROWS // 2,
        server=server,
        watcher=new_watcher(plan, tmp_path),
    )

    stats = await chaos.run()

    sweep = stats.sweep
    assert sweep is not None
    print(f"{chaos.killed} kills: {sweep}")
    assert chaos.killed == KILLS, "the sweep ended before the last kill: more rows are needed"
    assert (chaos.restarted, chaos.flushed) == (True, True)
    assert chaos.watcher.update(stats, time.time()) is None
    lost = chaos.shown.index("Lost")
    before, after = chaos.shown[:lost], chaos.shown[lost + 1 :]
    assert (set(before) | set(after)) <= {"Planning", "Running", "Completed"}
    assert before
    assert not {"Completed", "Lost"} & {*before, *after[:-1]}
    assert chaos.watcher.view(time.time(), clock=False).state == "Completed"
    assert_written_once(database, chaos.effects, ROWS // 2)
    assert (sweep.state, sweep.balanced, stats.dead) == (SweepState.COMPLETED, True, 0)
    assert sweep.applied + sweep.unconfirmed + sweep.skipped == sweep.planned
