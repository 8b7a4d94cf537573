"""Run async handlers so that a cancellation or an exit inside one ends no more than its row.

A handler has a task of its own from its first suspension on. Most of the time of a task is the time until the event loop runs it, which
a handler that never suspends does not need: it is one call. So a handler runs up to its first suspension at once, as a *spare* task that
waits: ``asyncio.current_task()`` returns the spare, because timeouts and task groups that the handler opens belong to the task that
continues it. Where the handler suspends, the spare continues it, and another one is made. Handlers that never suspend share a spare.

The functions that set the current task are asyncio's for extensions: https://docs.python.org/3/library/asyncio-extending.html
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

Ended = tuple[Any, BaseException | None]  # a result, or what was raised: an exit must not reach the event loop
NAME = "kubesweep-handler"


class Suspended:
    """A call that has not ended. ``rest`` returns or raises what the call does."""

    def __init__(self, task: asyncio.Task[Ended]) -> None:
        self._task = task

    async def rest(self) -> Any:
        result, error = await self._task
        if error is not None:
            raise error
        return result


class HandlerTasks:
    """Not safe for threads: for one event loop."""

    def __init__(self) -> None:
        self._spare: _Spare | None = None

    def start(self, work: Coroutine[Any, Any, Any], variables: contextvars.Context) -> Any:
        """Run ``work`` in ``variables`` up to its end or its first suspension. Returns its result, or Suspended; raises what it raises."""
        spare = self._spare
        if spare is None or not spare.waits:
            if spare is None or spare.task.done():
                self._spare = _Spare()
            return in_own_task(work, variables)
        try:
            awaited = _step_as(spare.task, variables, work)
        except StopIteration as stop:
            if spare.task.cancelling():  # the handler cancelled its task
                self._spare = None
                raise asyncio.CancelledError from None
            result = stop.value
        except BaseException:
            self._spare = None if spare.task.cancelling() else spare
            raise
        else:
            self._spare = _Spare()
            spare.take(work, awaited, variables)
            return Suspended(spare.task)
        return in_own_task(result, variables) if result is not None and inspect.isawaitable(result) else result

    async def close(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.task.cancel()
            await asyncio.wait({spare.task})


def in_own_task(work: Awaitable[Any], variables: contextvars.Context) -> Suspended:
    return Suspended(asyncio.get_running_loop().create_task(_guarded(work), name=NAME, context=variables))


async def _guarded(work: Awaitable[Any]) -> Ended:
    try:
        result = await work
        while inspect.isawaitable(result):
            result = await result
    except BaseException as error:
        return None, error
    return result, None


def _step_as(task: asyncio.Task[Ended], variables: contextvars.Context, work: Coroutine[Any, Any, Any]) -> Any:
    """The first step of ``work``, with ``task`` as the current task. Returns what it awaits; raises StopIteration at its end."""
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    assert current is not None
    _leave_task(loop, current)
    _enter_task(loop, task)
    try:
        return variables.run(work.send, None)
    finally:
        _leave_task(loop, task)
        _enter_task(loop, current)


class _Spare:
    """A task that waits for a handler that suspended."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._taken = loop.create_future()
        self._rest: tuple[Coroutine[Any, Any, Any], Any, contextvars.Context] | None = None
        self._began = False  # a task that is cancelled before its first step runs nothing
        self.task = loop.create_task(_guarded(self._continue()), name=NAME)

    @property
    def waits(self) -> bool:
        return self._began and not self._taken.done()

    def take(self, work: Coroutine[Any, Any, Any], awaited: Any, variables: contextvars.Context) -> None:
        """Continue ``work``, which ``awaited`` something."""
        self._rest = work, awaited, variables
        if not self._taken.done():  # it is where the handler cancelled its task
            self._taken.set_result(None)

    async def _continue(self) -> Any:
        self._began, cancelled = True, None
        try:
            await self._taken
        except asyncio.CancelledError as error:
            cancelled = error
        if self._rest is None:
            raise cancelled or asyncio.CancelledError
        return await _steps(*self._rest, cancelled)


@types.coroutine
def _steps(
    work: Coroutine[Any, Any, Any], awaited: Any, variables: contextvars.Context, error: BaseException | None
) -> Generator[Any, Any, Any]:
    """The steps of ``work`` after its first one. ``error``: a cancellation that arrived before."""
    if error is not None and awaited is not None and awaited.cancel():
        error = None  # as a task does: what it awaits ends as cancelled
    while True:
        value = None
        if error is None:
            try:
                value = yield awaited
            except BaseException as raised:
                error = raised
        try:
            if error is None:
                awaited = variables.run(work.send, value)
            else:
                thrown, error = error, None
                awaited = variables.run(work.throw, thrown)
        except StopIteration as stop:
            return stop.value
