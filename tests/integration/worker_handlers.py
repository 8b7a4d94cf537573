"""Handlers that misbehave, each in its own way, on the row whose id is 13; the others leave a line in a file."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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


def timed(function: Callable[[Row, Context], Awaitable[None]]) -> Callable[[Row, Context], Awaitable[None]]:
    @functools.wraps(function)
    def inner(row: Row, ctx: Context) -> Awaitable[None]:
        return function(row, ctx)

    return inner


decorated = timed(good)


async def send(channel: str, row: Row, ctx: Context) -> None:
    note(row, ctx)


by_lambda = lambda row, ctx: send("mail", row, ctx)  # noqa: E731 - as people write it
by_partial = functools.partial(send, "mail")


def forgets_await(row: Row, ctx: Context) -> Awaitable[None]:
    return send("mail", row, ctx)


async def forgets_await_in_async(row: Row, ctx: Context) -> Awaitable[None]:
    return send("mail", row, ctx)


class Sender:
    async def __call__(self, row: Row, ctx: Context) -> None:
        note(row, ctx)


by_object = Sender()
by_partial_of_object = functools.partial(by_object)
by_bound_method = by_object.__call__


class PlainSender:
    def __call__(self, row: Row, ctx: Context) -> Awaitable[None]:
        return good(row, ctx)


by_plain_object = PlainSender()


def generates(row: Row, ctx: Context) -> Iterator[None]:
    note(row, ctx)
    yield


async def generates_in_async(row: Row, ctx: Context) -> AsyncIterator[None]:
    note(row, ctx)
    yield


class Generates:
    def __call__(self, row: Row, ctx: Context) -> Iterator[None]:
        yield


by_generating_object = Generates()
generates_by_partial = functools.partial(generates)


@contextmanager
def manages(row: Row, ctx: Context) -> Iterator[None]:
    yield


@asynccontextmanager
async def manages_in_async(row: Row, ctx: Context) -> AsyncIterator[None]:
    yield


def takes_one(row: Row) -> None:
    return None


def takes_a_keyword(row: Row, ctx: Context, *, session: object) -> None:
    return None


async def takes_three(row: Row, ctx: Context, session: object) -> None:
    return None


def injected(row: Row, ctx: Context, session: object) -> None:
    assert session == "session"
    note(row, ctx)


@functools.wraps(injected)
def takes_anything(row: Row, ctx: Context) -> None:
    injected(row, ctx, "session")


def returns_a_generator(row: Row, ctx: Context) -> object:
    return generates(row, ctx) if row["id"] == BAD else None


def returns_a_manager(row: Row, ctx: Context) -> object:
    return manages(row, ctx) if row["id"] == BAD else None


async def returns_a_generator_in_async(row: Row, ctx: Context) -> object:
    return generates_in_async(row, ctx) if row["id"] == BAD else None


def returns_a_function(row: Row, ctx: Context) -> object:
    return send if row["id"] == BAD else None


def returns_a_future(row: Row, ctx: Context) -> object:
    return concurrent.futures.Future() if row["id"] == BAD else None


def returns_a_failing_coroutine(row: Row, ctx: Context) -> object:
    return raises(row, ctx)


async def cancels_its_task(row: Row, ctx: Context) -> None:
    task = asyncio.current_task()
    if row["id"] == BAD and task is not None:
        task.cancel()
        await asyncio.sleep(0)


def stops_iterating(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        next(iter(()))


async def recurses(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        await recurses(row, ctx)


async def leaves_its_generator(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        raise GeneratorExit


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
