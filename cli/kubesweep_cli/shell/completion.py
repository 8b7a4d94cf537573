"""Completes names of schedules, namespaces and errors. It must be quick and silent: a shell waits for it after each tab.

``kubesweep`` reads them from the queue. ``kubectl sweep`` replaces the source, and has the same options.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from threading import Thread
from typing import Any, NamedTuple, NoReturn

import typer

__all__ = ["Known", "complete", "complete_from", "error_names", "leave", "namespaces", "one_of", "schedule_names"]

PATIENCE = 1.0  # seconds for a queue on a server
LONGEST = 3.0  # seconds for any source: nothing else ends a resolver that does not answer, or a wait for a lock


class Known(NamedTuple):
    """One schedule. ``errors``: of its dead letters."""

    namespace: str
    name: str
    errors: tuple[str, ...] = ()


Given = Mapping[str, Any]  # the options and arguments that are typed already
Source = Callable[[Given, bool], Iterable[Known]]  # True: with the errors


def schedule_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names that begin with ``incomplete``; none where they cannot be read."""
    return _matching({one.name for one in _known(ctx)}, incomplete)


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    return _matching({one.namespace for one in _known(ctx, all_namespaces=True)}, incomplete)


def error_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Of the schedule that is named already, or of all."""
    # An option without its value ends the reading of options, so that the words before it are left.
    name = ctx.params.get("name") or next((word for word in ctx.args if not word.startswith("-")), None)
    found = _known(ctx, errors=True)
    return _matching({error for one in found if name in (None, one.name) for error in one.errors}, incomplete)


def one_of(*words: str) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return _matching(words, incomplete)

    return complete


def _matching(words: Iterable[str], incomplete: str) -> list[str]:
    return sorted(word for word in words if word.startswith(incomplete))


def _known(ctx: typer.Context, *, errors: bool = False, **changes: bool) -> list[Known]:
    given = {**ctx.find_root().params, **ctx.params, **changes}
    found: list[Known] = []

    def read() -> None:
        with suppress(Exception):
            found.extend(_source(given, errors))

    reader = Thread(target=read, daemon=True)
    reader.start()
    reader.join(LONGEST)
    space = given.get("namespace")
    return [one for one in found if space in (None, one.namespace)]


def _from_queue(given: Given, errors: bool) -> list[Known]:
    import asyncio

    return asyncio.run(_read_queue(given.get("queue"), errors))


async def _read_queue(option: str | None, errors: bool) -> list[Known]:
    import asyncio

    from kubesweep_cli.shell.open_queue import open_queue
    from kubesweep_cli.shell.state_paths import queue_url

    async with asyncio.timeout(PATIENCE), open_queue(queue_url(option)) as queue:
        refs = await queue.schedules()
        groups = [await queue.error_groups(ref, state=None) if errors else () for ref in refs]
    return [
        Known(ref.namespace, ref.name, tuple(each.error for each in found))
        for ref, found in zip(refs, groups, strict=True)
    ]


_source: Source = _from_queue


def complete_from(source: Source) -> None:
    """Read the names from somewhere else than the queue."""
    global _source  # noqa: PLW0603
    _source = source


def complete(app: Callable[..., Any], program: str, variable: str) -> int:
    """Answer a shell, which set this variable. It shows whatever is printed, so an error is silent. Returns the exit code."""
    from typer._completion_classes import completion_init

    completion_init()
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the end of the process
    try:
        app(args=[], prog_name=program, complete_var=variable)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except typer.Exit as end:
        return end.exit_code
    except Exception:
        return 1
    return 0


def leave(code: int) -> NoReturn:
    """End at once. The end of Python would wait for the threads of a source that is late."""
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code)
