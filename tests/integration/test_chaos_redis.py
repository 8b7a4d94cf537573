"""The same promise on a queue that restarts and forgets: a SIGKILL of the server and a FLUSHALL in the middle of the storm."""

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
from kubesweep_cli.runner.progress import Track
from tests.integration.chaos import Storm, assert_written_once, make_table, plan_with_effect
from tests.kits.servers import Server, binaries

ROWS = int(os.environ.get("KUBESWEEP_STORM_ROWS", "400000"))
KILLS = int(os.environ.get("KUBESWEEP_STORM_KILLS", "200"))
SCHEDULE = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: storm}
spec:
  schedule: "@yearly"
  source: {urlFrom: {secretKeyRef: {name: db, key: url}}, table: conversations}
  match: [{column: status, in: [pending]}]
  write: {update: [{column: status, value: expired}]}
"""


@dataclass
class WorseStorm(Storm):
    """A third of the kills in, the server dies; two thirds in, it forgets everything. ``watcher`` is what a run at a
    terminal remembers: it sees what is lost, heals it, and shows states."""

    server: Server = field(kw_only=True)
    watcher: Track = field(kw_only=True)
    shown: list[str] = field(default_factory=list)
    restarted: bool = False
    flushed: bool = False

    async def _strike(self, queue: QueueService, workers: list[ForkServerProcess], stats: Stats) -> None:
        await self.watch(queue, stats)
        await super()._strike(queue, workers, stats)
        if self.killed == self.kills // 3 and not self.restarted:
            self.server.kill()
            self.server.start()
            self.restarted = True
        elif self.killed == 2 * self.kills // 3 and not self.flushed and stats.sweep is not None:
            with self.server.client() as client:
                client.flushall()
            self.flushed = True
            self.rows -= stats.sweep.settled_rows
        await answering(queue, self.plan.ref)

    async def watch(self, queue: QueueService, stats: Stats) -> None:
        now = time.time()
        if self.watcher.look(stats, now):
            opened = await queue.open_sweep(self.plan.ref, self.watcher.demand(now))
            assert opened.answer is OpenResult.ENQUEUED
            self.watcher.expect(opened)
        if (state := self.watcher.glance(now, clock=False).state) not in self.shown[-1:]:
            self.shown.append(state)


def watcher_of(plan: Plan, folder: Path) -> Track:
    file = folder / "storm.yaml"
    file.write_text(SCHEDULE)
    (loaded,) = load([file], url="sqlite:///unused.db")
    return Track(replace(loaded, plan=plan), started=time.time())


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
async def test_kills_a_restart_and_a_flush_write_each_row_once_and_keep_the_totals(
    database: str, tmp_path: Path, server: Server
) -> None:
    seed = int(os.environ.get("KUBESWEEP_STORM_SEED", secrets.randbits(32)))
    print(f"seed {seed}")
    make_table(database, ROWS)
    plan = plan_with_effect()
    storm = WorseStorm(
        plan=plan,
        url=database,
        queue_url=server.url,
        effects=tmp_path / "effects",
        seed=seed,
        kills=KILLS,
        longest=0.1,  # this queue is fast: the sweep should not end before the storm
        rows=ROWS // 2,
        server=server,
        watcher=watcher_of(plan, tmp_path),
    )

    stats = await storm.run()

    sweep = stats.sweep
    assert sweep is not None
    print(f"{storm.killed} kills: {sweep}")
    assert storm.killed == KILLS, "the sweep ended before the storm did: more rows are needed"
    assert (storm.restarted, storm.flushed) == (True, True)
    assert not storm.watcher.look(stats, time.time())
    lost = storm.shown.index("Lost")
    before, after = storm.shown[:lost], storm.shown[lost + 1 :]
    assert (set(before) | set(after)) <= {"Planning", "Running", "Completed"}
    assert before
    assert not {"Completed", "Lost"} & {*before, *after[:-1]}
    assert storm.watcher.glance(time.time(), clock=False).state == "Completed"
    assert_written_once(database, storm.effects, ROWS // 2)
    assert (sweep.state, sweep.balanced, stats.dead) == (SweepState.COMPLETED, True, 0)
    assert sweep.applied + sweep.unconfirmed + sweep.skipped == sweep.planned
