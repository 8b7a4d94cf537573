"""Import a handler by its name, and refuse objects that cannot be one: an effect that does not run must not look like a success."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from kubesweep.errors import RowError
from kubesweep.logging import keep_loggers
from kubesweep.text import clip, did_you_mean
from kubesweep_worker.effects.base import EffectFailure

NOT_IMPORTABLE = "HandlerNotImportable"
Function = Callable[..., Any]


def load_handler(name: str, path: Path | None = None) -> Function:
    """Import ``package.module:function``. ``path`` (the folder of the YAML file, in local runs) is put on sys.path.

    Raises EffectFailure HandlerNotImportable.
    """
    module_name, _, attribute = name.partition(":")
    if path is not None and str(path) not in sys.path:
        sys.path.insert(0, str(path))
    keep_loggers()
    found: Any = None
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        if inspect.ismodule(found) and isinstance(error, AttributeError):
            raise _no_such_function(name, found, attribute) from error
        raise EffectFailure(
            NOT_IMPORTABLE,
            f"effect.handler {name!r} cannot be imported: {type(error).__name__}: {clip(str(error), 300)}; "
            "it is looked for in the worker's image"
            + (f" and beside the file, in {path}" if path else "")
            + "; set PYTHONPATH or install the package that has it",
        ) from error
    if wrong := _unfit(found):
        raise EffectFailure(NOT_IMPORTABLE, f"effect.handler {name!r} {wrong}")
    result: Function = found
    return result


def _no_such_function(name: str, module: ModuleType, attribute: str) -> EffectFailure:
    there = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
    advice = did_you_mean(attribute, there) or "; name a function of that module"
    return EffectFailure(
        NOT_IMPORTABLE,
        f"effect.handler {name!r} cannot be imported: {module.__name__} has no {attribute!r}{advice}",
    )


@contextlib.contextmanager
def _a_manager() -> Iterator[None]:
    yield


@contextlib.asynccontextmanager
async def _an_async_manager() -> AsyncIterator[None]:
    yield


_MAKE_MANAGERS = (_a_manager.__code__, _an_async_manager.__code__)
_MANAGERS = (type(_a_manager()), type(_an_async_manager()))


def _unfit(found: Any) -> str:
    """Why it cannot be a handler, as the end of a sentence; empty where it can."""
    if not callable(found):
        return f"is a {type(found).__name__}, not a function: name a function that takes (row, ctx)"
    if any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in (found, type(found).__call__)
    ):
        return "is a generator function, whose body does not run when it is called: remove its yield"
    if getattr(found, "__code__", None) in _MAKE_MANAGERS:
        return "is a context manager, whose body does not run when it is called: remove its decorator, or name it as lifespan"
    try:
        signature = inspect.signature(found, follow_wrapped=False)
    except (TypeError, ValueError):  # some functions of extension modules have none
        return ""
    try:
        signature.bind(None, None)
    except TypeError as error:
        return f"takes {signature}, and is called with (row, ctx): {error}"
    return ""


def is_async(function: Function) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def check_result(result: Any) -> None:
    """Raises RowError for a result which shows that the effect did not run, or has not finished."""
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        what = "a generator, whose body never runs"
    elif isinstance(result, _MANAGERS):
        what = "a context manager, whose body never runs"
    elif inspect.isroutine(result):
        what = "a function, which is never called"
    elif _is_future(result):
        what = f"a {type(result).__name__}, whose work may fail later: return its result"
    else:
        return
    raise RowError("HandlerResult", f"the handler returned {what}")


def _is_future(result: Any) -> bool:
    """Whether it is a future of concurrent.futures or behaves like one; those of multiprocessing have another interface."""
    module = type(result).__module__
    return module == "multiprocessing.pool" or all(
        callable(getattr(result, name, None)) for name in ("add_done_callback", "result", "cancel")
    )
