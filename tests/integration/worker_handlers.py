"""Handlers that misbehave, each in its own way, on the row whose id is 13; the others leave a line in a file."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from kubesweep_worker import Context, Reject, RetryAfter, Row, Skip, handler

BAD = 13
release = threading.Event()  # lets hanging threads go at the end of a test
lives: list[str] = []


def note(row: Row, ctx: Context) -> None:
    if path := os.environ.get("KS_TEST_NOTES"):
        with Path(path).open("a") as file:
            file.write(f"{row['id']} {ctx.idempotency_key}\n")


async def good(row: Row, ctx: Context) -> None:
    note(row, ctx)


def plain(row: Row, ctx: Context) -> None:
    note(row, ctx)
    assert threading.current_thread().name == "kubesweep-handler"


async def raises(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        raise ValueError("thirteen")


async def exits_politely(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        sys.exit(3)


def exits_politely_in_a_thread(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        sys.exit(3)


async def interrupts(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        raise KeyboardInterrupt


async def cancels_itself(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        raise asyncio.CancelledError


async def times_out_inside(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        raise TimeoutError("the API was slow")


async def rejects(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        raise Reject("no such customer")


async def skips(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        raise Skip


async def later(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        raise RetryAfter(3600)


async def asks_for_another_column(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        row["salary"]


async def hangs(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        await asyncio.Event().wait()


def hangs_in_a_thread(row: Row, ctx: Context) -> None:
    if row["id"] >= BAD:
        release.wait()


async def blocks_the_loop(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        while True:
            time.sleep(0.05)  # noqa: ASYNC251 - the very mistake that the watchdog is for


async def kills(row: Row, ctx: Context) -> None:
    note(row, ctx)
    if row["id"] == BAD:
        os._exit(9)


def eats_memory(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        hoard = []
        while True:
            hoard.append(bytearray(64 << 20))


async def stops_the_worker(row: Row, ctx: Context) -> None:
    """Somebody sends SIGTERM while this row's effect is under way."""
    note(row, ctx)
    if row["id"] == BAD:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.2)


async def blocks_and_stops_the_worker(row: Row, ctx: Context) -> None:
    note(row, ctx)
    if row["id"] == BAD:
        os.kill(os.getpid(), signal.SIGTERM)


async def holds_the_process(row: Row, ctx: Context) -> None:
    """Somebody sends SIGTERM, and a thread that this call leaves behind never ends."""
    if row["id"] == BAD:
        asyncio.get_running_loop().run_in_executor(None, release.wait)
        os.kill(os.getpid(), signal.SIGTERM)


@asynccontextmanager
async def lifespan() -> AsyncIterator[dict[str, int]]:
    lives.append("up")
    task = asyncio.current_task()
    yield {"calls": 0}
    assert asyncio.current_task() is task
    lives.append("down")


@handler(lifespan=lifespan)
async def counts(row: Row, ctx: Context) -> None:
    ctx.state["calls"] += 1
    lives.append(f"call {ctx.state['calls']}")


@contextmanager
def plain_lifespan() -> Iterator[str]:
    yield "state"


@handler(lifespan=plain_lifespan)
def with_plain_lifespan(row: Row, ctx: Context) -> None:
    assert ctx.state == "state"


@contextmanager
def broken_lifespan() -> Iterator[str]:
    raise ConnectionError("no route to the broker")
    yield ""


@handler(lifespan=broken_lifespan)
def with_broken_lifespan(row: Row, ctx: Context) -> None:
    return None


not_callable = 42


@contextmanager
def exiting_lifespan() -> Iterator[str]:
    sys.exit("no configuration")
    yield "never"


@handler(lifespan=exiting_lifespan)
def with_exiting_lifespan(row: Row, ctx: Context) -> None:
    return None


@asynccontextmanager
async def cancelled_lifespan() -> AsyncIterator[str]:
    raise asyncio.CancelledError
    yield "never"


@handler(lifespan=cancelled_lifespan)
async def with_cancelled_lifespan(row: Row, ctx: Context) -> None:
    return None
