"""procrastinate, whose queue is in the same database."""

from __future__ import annotations

import asyncio
import sys

import procrastinate
import psycopg
from effects import PAUSE, READ, WRITE, asked, ready
from psycopg_pool import AsyncConnectionPool

role, settings = asked()
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=settings.database, max_size=20))
pool = AsyncConnectionPool(settings.database, min_size=10, max_size=10, open=False, kwargs={"autocommit": True})


@app.task(name="row")
async def row(id_: int) -> None:
    if settings.effect == "pause":
        await asyncio.sleep(PAUSE)
    async with pool.connection() as connection:
        await connection.execute(WRITE, (id_,))


async def fill() -> None:
    async with await psycopg.AsyncConnection.connect(settings.database, autocommit=True) as connection:
        ready()
        sys.stdin.readline()
        last = 0
        while page := await (await connection.execute(READ, (last,))).fetchall():
            await row.batch_defer_async(*({"id_": id_} for (id_,) in page))
            last = page[-1][0]


async def main() -> None:
    async with app.open_async():
        if role == "fill":
            return await fill()
        await app.schema_manager.apply_schema_async()
        async with pool:
            ready()
            await app.run_worker_async(concurrency=settings.concurrency, install_signal_handlers=False)
    return None


asyncio.run(main())
