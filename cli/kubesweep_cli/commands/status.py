"""``kubesweep status``: once, or with ``--watch`` again after each change."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from kubesweep.errors import Outage
from kubesweep.logging import safe_url
from kubesweep.queue.model import ScheduleRef, Stats, SweepState
from kubesweep.queue.service import QueueService, stats_of_each
from kubesweep.streams import TolerantStream
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.output import LISTS, WIDE, check_output, print_document, structured
from kubesweep_cli.shell.schedule_files import files_here
from kubesweep_cli.shell.schedule_names import find, label, labels, typed_name
from kubesweep_cli.shell.state_paths import namespace_option, program, queue_option, queue_url
from kubesweep_cli.shell.suspending import suspended
from kubesweep_cli.shell.terminal import Printable, Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.status_document import status_document
from kubesweep_cli.views.status_table import status_notes, status_table

__all__ = ["run_status", "watch_status"]

INTERVAL = 1.0  # seconds between two readings of the queue


@dataclass(frozen=True, slots=True)
class _Question:
    """What is shown, and how."""

    terminal: Terminal
    option: str | None
    url: str
    name: str | None
    namespace: str | None
    output: str


@dataclass(frozen=True, slots=True)
class _Answer:
    refs: tuple[ScheduleRef, ...]
    stats: tuple[Stats, ...]
    now: float


async def run_status(
    terminal: Terminal, option: str | None, name: str | None, namespace: str | None, output: str
) -> Exit:
    """Print a table, or a document with ``-o json`` or ``-o yaml``."""
    asked = _Question(terminal, option, queue_url(option), name, namespace, check_output(output, LISTS))
    async with open_queue(asked.url) as queue:
        found = await _read(queue, asked)
    if structured(output):
        print_document(terminal, output, status_document(found.refs, found.stats, found.now))
        return Exit.CLEAN
    if not found.refs:
        terminal.line(f"The queue {safe_url(asked.url)} has no schedule yet.")
        terminal.next_steps([_first_run(option)])
        return Exit.CLEAN
    terminal.show(_table(asked, found))
    for note in _notes(found):
        terminal.warn(note)
    terminal.next_steps(_next_steps(option, namespace, found.refs, found.stats))
    return Exit.CLEAN


async def watch_status(
    terminal: Terminal,
    option: str | None,
    name: str | None,
    namespace: str | None,
    output: str,
    pause: Callable[[float], Any] = asyncio.sleep,
) -> Exit:
    """Show every change until a signal: in place on a terminal, otherwise one document or table after the other."""
    asked = _Question(terminal, option, queue_url(option), name, namespace, check_output(output, LISTS))
    async with open_queue(asked.url) as queue:
        found = await _read(queue, asked)  # a wrong name or password ends the command, a later outage does not
        if not terminal.live or structured(output):
            return await _print_changes(asked, queue, found, pause)
        with Live(console=terminal.out, auto_refresh=False) as live:
            outage = ""
            while True:
                live.update(Printable(Group(*_screen(asked, found, outage))), refresh=True)
                await pause(INTERVAL)
                again, outage = await _read_again(queue, asked)
                found = again or found


async def _print_changes(
    asked: _Question, queue: QueueService, found: _Answer | None, pause: Callable[[float], Any]
) -> Exit:
    shown, complained = None, ""
    while True:
        if found is not None and (seen := _without_clock(found)) != shown:
            shown = seen
            _print_change(asked, found)
            if _reader_gone():
                return Exit.CLEAN
        await pause(INTERVAL)
        found, outage = await _read_again(queue, asked)
        if outage and outage != complained:
            asked.terminal.warn(outage)
        complained = outage


def _print_change(asked: _Question, found: _Answer) -> None:
    terminal = asked.terminal
    if structured(asked.output):
        print_document(terminal, asked.output, status_document(found.refs, found.stats, found.now))
        return
    terminal.line(formatting.local_time(found.now))
    terminal.show(_table(asked, found))
    for note in _notes(found):
        terminal.line(note)
    terminal.out.file.flush()


def _reader_gone() -> bool:
    """Whether nobody reads stdout any more, as in ``kubesweep status --watch | head``, or it cannot be written."""
    return isinstance(sys.stdout, TolerantStream) and sys.stdout.error is not None


def _without_clock(found: _Answer) -> object:
    """What a change is: everything but the time of the reading."""
    documents = status_document(found.refs, found.stats, found.now)
    for each in documents:
        if "backlog" in each:
            each["backlog"] = {name: value for name, value in each["backlog"].items() if name != "observedTime"}
    return documents


async def _read(queue: QueueService, asked: _Question) -> _Answer:
    known = await queue.schedules()
    refs: tuple[ScheduleRef, ...]
    if asked.name:
        refs = (find(known, asked.name, asked.namespace, asked.url),)
    else:
        refs = tuple(ref for ref in known if asked.namespace in (None, ref.namespace))
    return _Answer(refs, await stats_of_each(queue, refs), time.time())


async def _read_again(queue: QueueService, asked: _Question) -> tuple[_Answer | None, str]:
    """The reading, or why there is none now."""
    try:
        return await _read(queue, asked), ""
    except Outage as error:
        return None, f"The queue cannot be reached, trying again: {error}"


def _table(asked: _Question, found: _Answer) -> RenderableType:
    width, wide = asked.terminal.out.width, asked.output == WIDE
    return status_table(found.refs, found.stats, found.now, width=width, wide=wide)


def _screen(asked: _Question, found: _Answer, outage: str) -> list[RenderableType]:
    """What is drawn in place."""
    at = Text(f"{formatting.local_time(found.now)}  Ctrl-C ends it", style="faint")
    empty = Text(f"The queue {safe_url(asked.url)} has no schedule yet.")
    notes = [Text(note, style="warn") for note in (*_notes(found), *([outage] if outage else []))]
    return [at, _table(asked, found) if found.refs else empty, *notes]


def _notes(found: _Answer) -> list[str]:
    """Lines below the table, each with the name of its schedule."""
    return [
        f"  {shown}: {note}"
        for shown, one in zip(labels(found.refs), found.stats, strict=True)
        for note in status_notes(one, found.now)
    ]


def _first_run(option: str | None) -> tuple[str, str]:
    here = files_here()
    if here:
        return f"{program()} run {shlex.quote(str(here[0]))}{queue_option(option)}", "run the schedules of a file"
    return f"{program()} demo", "see a sweep; `run` with a YAML file of yours runs its schedules"


def _next_steps(
    option: str | None, namespace: str | None, refs: Sequence[ScheduleRef], stats: Sequence[Stats]
) -> list[tuple[str, str]]:
    steps = []
    names = [ref.name for ref in refs]
    for ref, one in zip(refs, stats, strict=True):
        typed = typed_name(ref, full=namespace is not None or names.count(ref.name) > 1)
        if one.sweep is not None and one.sweep.state is SweepState.AWAITING_APPROVAL:
            command = f"{program()} approve {typed}{queue_option(option)}"
            steps.append((command, f"let the sweep of {label(ref)} continue"))
        if suspended(one):
            command = f"{program()} resume {typed}{queue_option(option)}"
            steps.append((command, f"let {label(ref)} run again"))
    if any(one.dead for one in stats):
        command = f"{program()} dead list{namespace_option(namespace)}{queue_option(option)}"
        steps.append((command, "list the dead letters, grouped by error"))
    return steps
