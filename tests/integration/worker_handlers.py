"""Handlers that misbehave, each in its own way, on the row whose id is 13; the others leave a line in a file."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from kubesweep_worker import Context, Reject, RetryAfter, Row, Skip, handler
from tests.integration.worker_handler_shapes import BAD as BAD
from tests.integration.worker_handler_shapes import Generates as Generates
from tests.integration.worker_handler_shapes import PlainSender as PlainSender
from tests.integration.worker_handler_shapes import Sender as Sender
from tests.integration.worker_handler_shapes import by_bound_method as by_bound_method
from tests.integration.worker_handler_shapes import by_generating_object as by_generating_object
from tests.integration.worker_handler_shapes import by_lambda as by_lambda
from tests.integration.worker_handler_shapes import by_object as by_object
from tests.integration.worker_handler_shapes import by_partial as by_partial
from tests.integration.worker_handler_shapes import by_partial_of_object as by_partial_of_object
from tests.integration.worker_handler_shapes import by_plain_object as by_plain_object
from tests.integration.worker_handler_shapes import cancels_its_task as cancels_its_task
from tests.integration.worker_handler_shapes import decorated as decorated
from tests.integration.worker_handler_shapes import forgets_await as forgets_await
from tests.integration.worker_handler_shapes import forgets_await_in_async as forgets_await_in_async
from tests.integration.worker_handler_shapes import generates as generates
from tests.integration.worker_handler_shapes import generates_by_partial as generates_by_partial
from tests.integration.worker_handler_shapes import generates_in_async as generates_in_async
from tests.integration.worker_handler_shapes import good as good
from tests.integration.worker_handler_shapes import injected as injected
from tests.integration.worker_handler_shapes import leaves_its_generator as leaves_its_generator
from tests.integration.worker_handler_shapes import manages as manages
from tests.integration.worker_handler_shapes import manages_in_async as manages_in_async
from tests.integration.worker_handler_shapes import note as note
from tests.integration.worker_handler_shapes import raises as raises
from tests.integration.worker_handler_shapes import recurses as recurses
from tests.integration.worker_handler_shapes import returns_a_failing_coroutine as returns_a_failing_coroutine
from tests.integration.worker_handler_shapes import returns_a_function as returns_a_function
from tests.integration.worker_handler_shapes import returns_a_future as returns_a_future
from tests.integration.worker_handler_shapes import returns_a_generator as returns_a_generator
from tests.integration.worker_handler_shapes import returns_a_generator_in_async as returns_a_generator_in_async
from tests.integration.worker_handler_shapes import returns_a_manager as returns_a_manager
from tests.integration.worker_handler_shapes import send as send
from tests.integration.worker_handler_shapes import stops_iterating as stops_iterating
from tests.integration.worker_handler_shapes import takes_a_keyword as takes_a_keyword
from tests.integration.worker_handler_shapes import takes_anything as takes_anything
from tests.integration.worker_handler_shapes import takes_one as takes_one
from tests.integration.worker_handler_shapes import takes_three as takes_three
from tests.integration.worker_handler_shapes import timed as timed

release = threading.Event()  # lets hanging threads go at the end of a test
lives: list[str] = []


def plain(row: Row, ctx: Context) -> None:
    note(row, ctx)
    assert threading.current_thread().name == "kubesweep-handler"


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


tenant = contextvars.ContextVar("tenant", default="nobody")


@asynccontextmanager
async def naming_lifespan() -> AsyncIterator[None]:
    tenant.set("ann")
    yield


@handler(lifespan=naming_lifespan)
async def reads_a_variable(row: Row, ctx: Context) -> None:
    assert tenant.get() == "ann"
    tenant.set("of one row")


@handler(lifespan=naming_lifespan)
def reads_a_variable_in_a_thread(row: Row, ctx: Context) -> None:
    assert tenant.get() == "ann"
    tenant.set("of one row")


def always_raises(row: Row, ctx: Context) -> None:
    raise LookupError(f"no {row['id']}")


def ends_a_process_at_once(row: Row, ctx: Context) -> None:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    process.join()
    assert process.exitcode == -signal.SIGTERM
    note(row, ctx)


def forks_a_pool(row: Row, ctx: Context) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:  # ends its processes by SIGTERM
        assert pool.map(abs, [-1, -2]) == [1, 2]
    note(row, ctx)
