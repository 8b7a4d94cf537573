"""A user's Python function as an effect. Whatever it raises is its row's failure, SystemExit and MemoryError included;
only a cancellation that we asked for is not."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from kubesweep.api.plan import Plan
from kubesweep.errors import KubesweepError, Outage, RowError, Skip, SweepFailure
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.effects.threads import Threads
from kubesweep_worker.handlers import ATTRIBUTE, Context, Lifespan, Row
from kubesweep_worker.words import near

MESSAGE = 1024


def load_handler(name: str, path: Path | None = None) -> Callable[..., Any]:
    """Import ``package.module:function``. ``path`` (the folder of the YAML file, in local runs) is put on sys.path.

    Raises SweepFailure HandlerNotImportable.
    """
    module_name, _, attribute = name.partition(":")
    if path is not None and str(path) not in sys.path:
        sys.path.insert(0, str(path))
    found: Any = None
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        if inspect.ismodule(found) and isinstance(error, AttributeError):
            raise _no_such_function(name, found, attribute) from error
        raise SweepFailure(
            "HandlerNotImportable",
            f"effect.handler {name!r} cannot be imported: {type(error).__name__}: {str(error)[:300]}; "
            "it is looked for in the worker's image"
            + (f" and beside the file, in {path}" if path else "")
            + "; set PYTHONPATH or install the package that has it",
        ) from error
    if not callable(found):
        raise SweepFailure(
            "HandlerNotImportable",
            f"effect.handler {name!r} is a {type(found).__name__}, not a function: name a function that takes (row, ctx)",
        )
    result: Callable[..., Any] = found
    return result


def _no_such_function(name: str, module: ModuleType, attribute: str) -> SweepFailure:
    there = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
    advice = near(attribute, there) or "; name a function of that module"
    return SweepFailure(
        "HandlerNotImportable",
        f"effect.handler {name!r} cannot be imported: {module.__name__} has no {attribute!r}{advice}",
    )


def is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class HandlerEffect:
    def __init__(self, plan: Plan, name: str, path: Path | None = None) -> None:
        assert plan.effect is not None
        self._plan, self._name, self._path = plan, name, path
        self._timeout = plan.effect.timeout
        self._function: Callable[..., Any] | None = None
        self._async = False
        self._state: Any = None
        self._life: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._starting = asyncio.Lock()
        self._threads = Threads()

    @property
    def leaked(self) -> int:
        return self._threads.leaked

    def check(self) -> None:
        if self._function is None:
            function = load_handler(self._name, self._path)
            self._async = is_async(function)
            self._function = function

    async def start(self) -> None:
        self.check()
        async with self._starting:
            lifespan = getattr(self._function, ATTRIBUTE, None)
            if lifespan is None or self._life is not None:
                return
            entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            life = asyncio.create_task(self._live(lifespan, entered), name="kubesweep-lifespan")
            try:
                self._state = await entered
            except KubesweepError:
                raise
            except Exception as error:
                why = f"the lifespan of {self._name} raised {type(error).__name__}: {str(error)[:300]}"
                raise Outage("LifespanFailed", why) from error
            except asyncio.CancelledError:
                life.cancel()
                raise
            self._life = life

    async def _live(self, lifespan: Lifespan, entered: asyncio.Future[Any]) -> None:
        """Enter and leave in one task: many async libraries insist on that."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                manager = lifespan()
                if isinstance(manager, contextlib.AbstractAsyncContextManager):
                    state = await stack.enter_async_context(manager)
                else:
                    state = stack.enter_context(manager)
            except BaseException as error:  # one that exits or cancels itself would else be waited for in vain
                if entered.done():
                    raise
                entered.set_exception(error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
                return
            if not entered.done():
                entered.set_result(state)
                await self._over.wait()

    async def close(self) -> None:
        self._threads.close()
        self._over.set()
        if self._life is not None:
            await self._life

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
            log=logging.LoggerAdapter(logging.getLogger("kubesweep.handler"), fields),
        )

    async def deliver(self, delivery: Delivery) -> None:
        await self.start()
        function = self._function
        assert function is not None
        row, context = Row(delivery.values), self._context(delivery)
        try:
            async with asyncio.timeout(self._timeout) as limit:
                try:
                    if self._async:
                        await function(row, context)
                    else:
                        await self._threads.call(lambda: function(row, context))
                except TimeoutError as error:
                    if limit.expired():
                        raise
                    raise as_row_error(error) from error
        except TimeoutError:
            raise RowError(
                "HandlerTimeout", f"the handler did not return within {self._timeout:g} s (effect.timeout)"
            ) from None
        except KubesweepError as error:
            if isinstance(error, SweepFailure | RowError | Outage | Skip):
                raise
            raise as_row_error(error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise as_row_error(error) from error
        except BaseException as error:
            raise as_row_error(error) from error


def as_row_error(error: BaseException) -> RowError:
    """A handler's exception under its own class name; the text is the handler's, cut to what a dead letter takes."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception as broken:  # an error that cannot say what it is
        text = f"{name}, whose text cannot be read ({type(broken).__name__})"
    return RowError(name, (text or name)[:MESSAGE])
