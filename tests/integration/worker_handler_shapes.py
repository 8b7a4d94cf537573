"""Handlers that are not plain functions, or return something that is not a result."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from kubesweep_worker import Context, Row

BAD = 13


def note(row: Row, ctx: Context) -> None:
    if path := os.environ.get("KS_TEST_NOTES"):
        with Path(path).open("a") as file:
            file.write(f"{row['id']} {ctx.idempotency_key}\n")


async def good(row: Row, ctx: Context) -> None:
    note(row, ctx)


async def raises(row: Row, ctx: Context) -> None:
    if row["id"] == BAD:
        raise ValueError("thirteen")


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
