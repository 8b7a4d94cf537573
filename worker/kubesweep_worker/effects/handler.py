"""A user's Python function as an effect. Any exception that it raises fails its row, including SystemExit and MemoryError; only
a cancellation by the worker does not."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from kubesweep.api.plan import Plan
from kubesweep.errors import KubesweepError, Outage, RowError, Skip, SweepFailure
from kubesweep.text import clip
from kubesweep_worker.effects.base import Delivery, NotStarted, Record, as_row_error, unrecorded
from kubesweep_worker.effects.handler_tasks import HandlerTasks, Suspended, in_own_task
from kubesweep_worker.effects.loading import check_result, is_async, load_handler
from kubesweep_worker.effects.threads import HandlerThreads
from kubesweep_worker.handlers import ATTRIBUTE, Context, Lifespan, Row
from kubesweep_worker.row_values import python_values

log = logging.getLogger("kubesweep.handler")


class HandlerEffect:
    def __init__(self, plan: Plan, name: str, path: Path | None = None, record: Record = unrecorded) -> None:
        assert plan.effect is not None
        self._record = record
        self._plan, self._name, self._path = plan, name, path
        self._timeout = plan.effect.timeout
        self._function: Callable[..., Any] | None = None
        self._async = False
        self._state: Any = None
        self._lifespan_task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._starting = asyncio.Lock()
        self._threads, self._tasks = HandlerThreads(), HandlerTasks()
        self._started = False
        self._variables = contextvars.Context()

    @property
    def leaked(self) -> int:
        return self._threads.leaked

    def check(self) -> None:
        if self._function is None:
            function = load_handler(self._name, self._path)
            self._async = is_async(function)
            self._function = function

    async def probe(self) -> None:
        self.check()

    async def ask(self) -> None:
        return None

    async def start(self) -> None:
        self.check()
        async with self._starting:
            lifespan = getattr(self._function, ATTRIBUTE, None)
            if lifespan is None or self._lifespan_task is not None:
                self._started = True
                return
            entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._run_lifespan(lifespan, entered), name="kubesweep-lifespan")
            try:
                self._state = await entered
            except KubesweepError:
                raise
            except Exception as error:
                why = f"the lifespan of {self._name} raised {type(error).__name__}: {clip(str(error), 300)}"
                raise Outage("LifespanFailed", why) from error
            except asyncio.CancelledError:
                task.cancel()
                raise
            self._lifespan_task, self._started = task, True

    async def _run_lifespan(self, lifespan: Lifespan, entered: asyncio.Future[Any]) -> None:
        """Enter and exit the context manager in one task, as many async libraries require."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                manager = lifespan()
                if isinstance(manager, contextlib.AbstractAsyncContextManager):
                    state = await stack.enter_async_context(manager)
                else:
                    state = stack.enter_context(manager)
            except (
                BaseException
            ) as error:  # includes one that exits or cancels itself: the caller waits for ``entered``
                if entered.done():
                    raise
                entered.set_exception(error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
                return
            self._variables = contextvars.copy_context()
            if not entered.done():
                entered.set_result(state)
                await self._closing.wait()

    async def close(self) -> None:
        self._threads.close()
        await self._tasks.close()
        self._closing.set()
        if self._lifespan_task is not None:
            await self._lifespan_task

    def _context(self, delivery: Delivery) -> Context:
        fields = {"schedule": self._plan.name, "sweep": delivery.sweep, "key": list(delivery.key)}
        return Context(
            schedule=self._plan.name,
            namespace=self._plan.namespace,
            sweep=delivery.sweep,
            cutoff=delivery.cutoff,
            attempt=delivery.attempt,
            idempotency_key=delivery.idempotency_key,
            state=self._state,
            log=logging.LoggerAdapter(log, fields),
        )

    def _call(self, function: Callable[..., Any], delivery: Delivery) -> Any:
        """Call in the context variables of the lifespan. Returns the result, or something to await: of a plain function too, which may
        return an awaitable, such as a decorator does."""
        row, context = Row(python_values(delivery.values)), self._context(delivery)
        variables = self._variables.copy()
        if not self._async:
            return self._in_thread(function, row, context, delivery.begin, variables)
        called = self._tasks.start(_begin_and_call(delivery.begin, function, row, context), variables)
        return called.rest() if isinstance(called, Suspended) else called

    async def _in_thread(
        self,
        function: Callable[..., Any],
        row: Row,
        context: Context,
        begin: Callable[[], None],
        variables: contextvars.Context,
    ) -> Any:
        def run() -> Any:
            begin()
            return variables.run(function, row, context)

        result = await self._threads.call(run)
        return await in_own_task(result, variables).rest() if inspect.isawaitable(result) else result

    async def _in_time(self, rest: Coroutine[Any, Any, Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout) as limit:
                try:
                    return await rest
                except TimeoutError as error:
                    if limit.expired():
                        raise
                    raise as_row_error(error) from error
        except TimeoutError:
            raise RowError(
                "HandlerTimeout", f"the handler did not return within {self._timeout:g} s (effect.timeout)"
            ) from None

    async def deliver(self, delivery: Delivery) -> None:
        if not self._started:
            await self.start()
        function, began, answer = self._function, time.monotonic(), "error"
        assert function is not None
        try:
            result = self._call(function, delivery)
            if result is not None:
                check_result(await self._in_time(result) if inspect.iscoroutine(result) else result)
            answer = "ok"
        except KubesweepError as error:
            answer = "ok" if isinstance(error, Skip) else "" if isinstance(error, NotStarted) else answer
            if isinstance(error, SweepFailure | RowError | Outage | Skip | NotStarted):
                raise
            raise as_row_error(error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                answer = ""  # the worker stops
                raise
            raise as_row_error(error) from error
        except BaseException as error:
            raise as_row_error(error) from error
        finally:
            if answer:
                self._record(time.monotonic() - began, answer)


async def _begin_and_call(begin: Callable[[], None], function: Callable[..., Any], row: Row, context: Context) -> Any:
    """Call ``begin`` right before the handler: in a task of its own that is later than the call, and a stop may arrive in between."""
    begin()
    return await function(row, context)
