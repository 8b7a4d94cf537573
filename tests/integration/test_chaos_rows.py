"""Locked, slow or always rejected rows, and workers that are killed or stopped, do not affect other rows."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psycopg
import pytest
from aiohttp import ClientSession, web

from kubesweep.api.plan import Effect, Match, Plan, RetryPolicy, RowLimits, Source, Webhook, Write
from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, Stats, SweepRequest, SweepState
from kubesweep.queue.service import QueueService
from tests.integration.chaos import ChaosRun
from tests.integration.receivers import receiver
from tests.kits.deadlines import scaled
from tests.kits.servers import Server, binaries

ROWS = 20_000
KILLS = 10
LOCKED = frozenset(range(1_000, 20_000, 1_900))
SLOW = frozenset({77, 5_077, 10_077, 15_077, 19_077})
REFUSED = frozenset({500, 501, 502, 503, 504, 505, 7_500, 9_500, 12_500, 19_500})
AFFECTED = LOCKED | SLOW | REFUSED
ATTEMPTS = 2
TABLES = """
CREATE TABLE conversations (id bigint PRIMARY KEY, status text NOT NULL);
INSERT INTO conversations SELECT g, 'old' FROM generate_series(1, {rows}) g;
CREATE TABLE messages (id bigint PRIMARY KEY, conversation bigint NOT NULL REFERENCES conversations ON DELETE CASCADE);
INSERT INTO messages SELECT g, g FROM generate_series(1, {rows}) g;
CREATE INDEX ON messages (conversation);
CREATE TABLE written (id bigint NOT NULL);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO written VALUES (OLD.id); RETURN NULL; END$$;
CREATE TRIGGER audit AFTER DELETE ON conversations FOR EACH ROW EXECUTE FUNCTION audit();
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN IF OLD.id = ANY (ARRAY[{slow}]) THEN PERFORM pg_sleep(60); END IF; RETURN OLD; END$$;
CREATE TRIGGER slow BEFORE DELETE ON conversations FOR EACH ROW EXECUTE FUNCTION slow();
ANALYZE;
"""


def plan(url: str) -> Plan:
    return Plan(
        namespace="default",
        name="chaos",
        uid="8d7a9a52-6f0e-4a39-9d3c-0f5f6c2f7e12",
        source=Source(schema="public", table="conversations", lock_timeout=0.05, statement_timeout=0.5),
        match=(Match(op="in", column="status", values=("old",)),),
        effect=Effect(columns=("id",), webhook=Webhook(url, timeout=scaled(10))),
        write=Write(children=True),
        limits=RowLimits(batch_rows=500),
        retry=RetryPolicy(max_attempts=ATTEMPTS, backoff=0.5, max_backoff=1.0),
        concurrency=2,
        max_replicas=2,
        jobs_per_replica=10,
    )


@dataclass
class StopOrKillRun(ChaosRun):
    """Half of the workers are killed, the others are stopped with SIGTERM."""

    killings: list[float] = field(default_factory=list)
    stopped: int = 0

    async def _end(self, worker: ForkServerProcess) -> None:
        if self._random.random() < 0.5:
            await super()._end(worker)
            await self._receiver_caught_up()
            self.killings.append(time.monotonic())
        else:
            worker.terminate()
            await asyncio.to_thread(worker.join)  # it finishes its calls first, which this event loop answers
            self.stopped += 1

    async def _receiver_caught_up(self) -> None:
        """Wait until the receiver has handled the calls that a killed worker had sent, which arrived before this one."""
        assert self.plan.effect is not None
        assert self.plan.effect.webhook is not None
        async with ClientSession() as session, session.get(self.plan.effect.webhook.url) as answer:
            assert answer.status == 200

    async def settle(self, queue: QueueService, workers: list[ForkServerProcess]) -> Stats:
        """Open a sweep, kill and stop workers until it is settled, and return the stats."""
        opened = await queue.open_sweep(self.plan.ref, SweepRequest(tick=time.time(), plan=self.plan.version))
        assert opened.answer is OpenResult.ENQUEUED, "an earlier sweep blocks this tick"
        give_up = time.monotonic() + scaled(240)
        while True:
            (stats,) = await queue.stats([self.plan.ref])
            if stats.sweep is not None and stats.sweep.state.settled:
                return stats
            assert time.monotonic() < give_up, f"seed {self.seed}: {stats}"
            await self._kill_one(queue, workers, stats)


@dataclass
class Calls:
    """The time and the attempt of each call that the receiver got, by row."""

    of_row: dict[int, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.Response()
        body = await request.json()
        row = int(body["key"][0])
        self.of_row[row].append((time.monotonic(), body["attempt"]))
        return web.Response(status=500 if row in REFUSED else 200)

    def unexplained(self, killings: list[float]) -> dict[int, list[tuple[float, int]]]:
        """Rows with two calls of the same attempt between which no worker was killed."""
        return {row: calls for row, calls in self.of_row.items() if sum(_repeats(calls, killings)) > (row in REFUSED)}


def _repeats(calls: list[tuple[float, int]], killings: list[float]) -> Iterator[bool]:
    for (before, one), (after, other) in itertools.pairwise(calls):
        yield one == other and not any(before <= moment <= after for moment in killings)


def written(url: str) -> Counter[int]:
    with psycopg.connect(url) as connection:
        return Counter(row[0] for row in connection.execute("SELECT id FROM written").fetchall())


@pytest.fixture(params=["sqlite", min(binaries())])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a queue."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'queue.db'}"
        return
    server = Server(request.param).start()
    yield server.url
    server.remove()


@pytest.mark.slow
async def test_no_row_blocks_others_while_workers_are_killed_and_stopped(
    database: str, tmp_path: Path, where: str
) -> None:
    seed = int(os.environ.get("KUBESWEEP_CHAOS_SEED", secrets.randbits(32)))
    print(f"seed {seed}")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES.format(rows=ROWS, slow=", ".join(str(row) for row in sorted(SLOW))).encode())
    calls, queue = Calls(), connect(where)
    async with receiver(calls.answer) as url:
        chaos = StopOrKillRun(plan(url), database, where, tmp_path / "unused", seed, KILLS, lease=scaled(6), rows=ROWS)
        workers = [chaos.spawn(), chaos.spawn()]
        try:
            with psycopg.connect(database) as application:
                application.execute("SELECT 1 FROM messages WHERE id = ANY (%s) FOR UPDATE", (list(LOCKED),))
                stats = await chaos.settle(queue, workers)
                assert stats.sweep is not None
                print(f"{len(chaos.killings)} killed, {chaos.stopped} stopped: {stats.sweep}")
                assert (stats.sweep.state, stats.sweep.balanced) == (SweepState.COMPLETED, True)
                assert written(database) == Counter(set(range(1, ROWS + 1)) - AFFECTED)
                application.execute("INSERT INTO conversations SELECT g, 'old' FROM generate_series(20001, 20100) g")
                application.commit()
            stats = await chaos.settle(queue, workers)
            while stats.excluded > stats.dead or stats.running:
                await queue.wait(chaos.plan.ref, 0.2)
                (stats,) = await queue.stats([chaos.plan.ref])
            dead = await queue.dead_letters(chaos.plan.ref)
        finally:
            for process in workers:
                process.kill()
                process.join()
            await queue.close()
    assert chaos.killed == KILLS, "the sweep ended before the last kill"
    assert {int(letter.key[0]) for letter in dead} == SLOW | REFUSED
    assert written(database) == Counter(set(range(1, ROWS + 101)) - SLOW - REFUSED)
    assert calls.unexplained(chaos.killings) == {}
