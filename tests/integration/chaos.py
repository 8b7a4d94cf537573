"""Random SIGKILLs during one sweep, for any queue: one of two worker processes is killed ``kills`` times.

Workers are forked from a server that has imported everything, so kills interrupt their work and not the start of Python. Kills are spread over the
rows, not over time. After ``BARREN`` kills in a row without progress, the next one waits for progress. So the test is the same on a machine of any
speed, and workers always live long enough to finish something.

An effect is recorded as a line in a file, which survives the process, and a write by a trigger in the database.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
from collections import defaultdict
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import psycopg

from kubesweep.api.plan import Assignment, Effect, Match, Plan, RetryPolicy, RowLimits, Source, Write
from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, Stats, SweepRequest, SweepState
from kubesweep.queue.service import QueueService
from tests.kits.deadlines import scaled

__all__ = ["ChaosRun", "assert_written_once", "make_table", "plan_with_effect"]

EFFECTS_FILE = "KUBESWEEP_TEST_EFFECTS"
BARREN = 10
LONGEST = 2.0
SHARE = 0.8
RECORD = 64  # bytes: a SIGKILL may split a write at a page boundary, so no record may cross one

TABLE = """
CREATE TABLE conversations (
    id bigint PRIMARY KEY, status text NOT NULL, expires_at timestamptz NOT NULL, session_key text NOT NULL);
INSERT INTO conversations
    SELECT g, CASE g % 2 WHEN 0 THEN 'pending' ELSE 'closed' END, now() - interval '1 hour', 'sk' || g
    FROM generate_series(1, %(rows)s) g;
CREATE INDEX ON conversations (expires_at) WHERE status = 'pending';
CREATE TABLE written (id bigint NOT NULL, status text NOT NULL);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO written VALUES (NEW.id, NEW.status); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION audit();
ANALYZE conversations;
"""


def make_table(url: str, rows: int) -> None:
    """Create ``rows`` conversations, every second one stale, and a trigger that records each write."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE.replace("%(rows)s", str(rows)).encode())


def plan_with_effect(name: str = "chaos") -> Plan:
    return Plan(
        namespace="default",
        name=name,
        uid="8d7a9a52-6f0e-4a39-9d3c-0f5f6c2f7e11",
        source=Source(schema="public", table="conversations", key=("id",)),
        match=(Match(op="in", column="status", values=("pending",)), Match(op="before", column="expires_at")),
        effect=Effect(columns=("id", "session_key"), handler="tests.integration.chaos:note"),
        write=Write(update=(Assignment("status", value="expired"),)),
        limits=RowLimits(batch_rows=1000),
        retry=RetryPolicy(backoff=0.1, max_backoff=1.0),
        concurrency=2,
        max_replicas=2,
        jobs_per_replica=10,
    )


_effects_file: list[int] = []


async def note(row: object, context: object) -> None:
    """The effect under test: append a line to a file, which a SIGKILL cannot undo."""
    if not _effects_file:
        _effects_file.append(os.open(os.environ[EFFECTS_FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    record = f"{row['id']} {context.idempotency_key}".ljust(RECORD - 1) + "\n"  # type: ignore[index, attr-defined]
    os.write(_effects_file[0], record.encode())


def work(plan: str, url: str, queue_url: str, effects: str, lease: float) -> None:
    """The body of a worker process, which runs until a signal."""
    from kubesweep_worker.runtime.build import build_worker
    from kubesweep_worker.settings import WorkerSettings

    os.environ[EFFECTS_FILE] = effects
    compiled = Plan.from_json(plan)
    settings = WorkerSettings(concurrency=compiled.concurrency, lease=lease)

    async def main() -> None:
        worker = build_worker(compiled, url=lambda: url, queue_url=queue_url, settings=settings)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()

    asyncio.run(main())


@dataclass
class ChaosRun:
    """Runs one sweep of ``plan`` and kills a worker ``kills`` times. ``seed`` determines which worker and when."""

    plan: Plan
    url: str
    queue_url: str
    effects: Path
    seed: int
    kills: int
    lease: float = 1.0
    longest: float = 0.25  # seconds to the next kill, at most, while no row is settled
    rows: int = 0  # stale rows, over which the kills are spread
    killed: int = 0

    def __post_init__(self) -> None:
        self._seen: tuple[object, ...] = ()
        self._barren = 0
        self._random = random.Random(self.seed)
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            [
                "kubesweep_worker.runtime.build",
                "kubesweep_worker.testing",
                "psycopg",
                "aiohttp",
                "tests.integration.chaos",
            ]
        )

    def spawn(self) -> ForkServerProcess:
        arguments = (self.plan.to_json(), self.url, self.queue_url, str(self.effects), self.lease)
        process = self._context.Process(target=work, args=arguments, daemon=True)
        process.start()
        return process

    async def run(self, limit: float = scaled(1800)) -> Stats:
        """Open the sweep, kill workers, and wait until it is settled without retries. Returns the final stats."""
        queue = connect(self.queue_url)
        workers = [self.spawn(), self.spawn()]
        try:
            opened = await queue.open_sweep(self.plan.ref, SweepRequest(tick=time.time(), plan=self.plan.version))
            assert opened.answer is OpenResult.ENQUEUED
            give_up = time.monotonic() + limit
            while not done(stats := (await queue.stats([self.plan.ref]))[0]):
                assert time.monotonic() < give_up, f"not settled after {limit:.0f} s (seed {self.seed}): {stats}"
                assert not failed(stats), f"after {self.killed} kills (seed {self.seed}): {stats.sweep}"
                await self._kill_one(queue, workers, stats)
            return stats
        finally:
            for process in workers:
                process.kill()
                process.join()
            await queue.close()

    async def _kill_one(self, queue: QueueService, workers: list[ForkServerProcess], stats: Stats) -> None:
        if self.killed >= self.kills:
            await queue.wait(self.plan.ref, 0.2)
            return
        if not self._may_kill(stats):
            await asyncio.to_thread(workers[0].join, 0.02)
            return
        which = self._random.randrange(len(workers))
        await asyncio.to_thread(workers[which].join, self._random.uniform(0.0, self._longest_delay(stats)))
        await self._end(workers[which])
        self.killed += 1
        workers[which] = self.spawn()

    async def _end(self, worker: ForkServerProcess) -> None:
        worker.kill()
        worker.join()

    def _may_kill(self, stats: Stats) -> bool:
        sweep = stats.sweep
        seen = (sweep.id, sweep.planned, sweep.settled_rows) if sweep is not None else ()
        self._barren = self._barren + 1 if seen == self._seen else 0
        self._seen = seen
        return self._barren < BARREN

    def _longest_delay(self, stats: Stats) -> float:
        """The longest time to the next kill, so that all kills happen within the first ``SHARE`` of the rows at the speed so far.

        It is 0 where the sweep was faster than that.
        """
        settled = stats.sweep.settled_rows if stats.sweep is not None else 0
        if stats.sweep is None or not self.rows or not settled:
            return self.longest
        elapsed = time.time() - stats.sweep.started
        left = elapsed * max(0.0, SHARE * self.rows - settled) / settled
        return min(LONGEST, 1.5 * left / (self.kills - self.killed))


def done(stats: Stats) -> bool:
    return stats.sweep is not None and stats.sweep.state.settled and stats.excluded == stats.dead and stats.running == 0


def failed(stats: Stats) -> bool:
    return stats.sweep is not None and stats.sweep.state in (SweepState.FAILED, SweepState.HALTED)


def effects_by_row(path: Path) -> dict[str, set[str]]:
    """The Idempotency-Keys of each row's effect."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in path.read_text().splitlines():
        row, key = line.split()
        found[row].add(key)
    return found


def assert_written_once(url: str, effects: Path, rows: int) -> None:
    """Each of the ``rows`` stale rows was written once, had its effect under one key, and none is left."""
    with psycopg.connect(url) as connection:
        repeated = connection.execute("SELECT id, count(*) FROM written GROUP BY id HAVING count(*) > 1").fetchall()
        written = connection.execute("SELECT count(*) FROM written").fetchone()
        left = connection.execute("SELECT count(*) FROM conversations WHERE status = 'pending'").fetchone()
    assert repeated == []
    assert written == (rows,)
    assert left == (0,)
    delivered = effects_by_row(effects)
    assert len(delivered) == rows
    assert {row for row, keys in delivered.items() if len(keys) != 1} == set()
