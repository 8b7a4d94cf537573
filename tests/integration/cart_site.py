"""A table of carts in a database of its own, with a queue, and workers that sweep it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Assignment, Match, Plan, RetryPolicy, RowLimits, Source, Write
from kubesweep.queue.connect import connect
from kubesweep.queue.model import ScheduleRef, Stats, SweepRequest
from kubesweep.queue.service import QueueService
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.runtime.worker import Worker
from kubesweep_worker.settings import WorkerSettings
from tests.kits.deadlines import scaled

QUICK = WorkerSettings(backoff=0.02, max_backoff=0.1)


def carts(url: str, rows: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE carts (id bigint PRIMARY KEY, status text NOT NULL CHECK (status <> 'x'), note text UNIQUE,"
            " at timestamptz NOT NULL DEFAULT now() - interval '1 day')"
        )
        connection.execute("INSERT INTO carts SELECT i, 'old', NULL FROM generate_series(1, %s) i", (rows,))


def cart_plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "namespace": "default",
        "name": "carts",
        "uid": ScheduleRef.local("default", "carts").uid,
        "source": Source(table="carts", schema="public", lock_timeout=0.05),
        "match": (Match("in", "status", ("old",)), Match("before", "at")),
        "write": Write(update=(Assignment("status", "new"),)),
        "limits": RowLimits(batch_rows=200),
        "retry": RetryPolicy(max_attempts=2, backoff=0.2, max_backoff=0.3),
    }
    return Plan(**{**fields, **changes})


class Site:
    def __init__(self, folder: Path, url: str) -> None:
        self.where, self.url = f"sqlite:///{folder / 'queue.db'}", url
        self.queue: QueueService = connect(self.where)
        self.ticks = 0.0

    def worker(self, plan: Plan, **settings: Any) -> Worker:
        changed = dataclasses.replace(QUICK, **settings)
        return build_worker(plan, url=lambda: self.url, queue_url=self.where, settings=changed)

    async def open(self, plan: Plan) -> None:
        self.ticks += 1
        await self.queue.open_sweep(plan.ref, SweepRequest(tick=self.ticks, plan=plan.version, mode=plan.mode))

    async def sweep(self, plan: Plan, *, retries: bool = False) -> Stats:
        await self.open(plan)
        async with asyncio.timeout(scaled(60)):
            await self.worker(plan).run(until_settled=True, await_retries=retries)
        return await self.stats(plan)

    async def stats(self, plan: Plan) -> Stats:
        (stats,) = await self.queue.stats([plan.ref])
        return stats

    def statuses(self) -> dict[str, int]:
        with psycopg.connect(self.url) as connection:
            return dict(connection.execute("SELECT status, count(*) FROM carts GROUP BY 1").fetchall())


@pytest.fixture
async def site(tmp_path: Path, database: str) -> AsyncIterator[Site]:
    made = Site(tmp_path, database)
    yield made
    await made.queue.close()
