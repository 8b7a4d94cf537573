"""``kubesweep status``, ``trigger`` and ``approve``: one question to the queue, or one word to it."""

from __future__ import annotations

import shlex
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from kubesweep.api.loading.files import load
from kubesweep.errors import SpecError
from kubesweep.logging import safe_url
from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, ScheduleRef, Stats, SweepRequest, SweepState
from kubesweep.queue.service import Opened, QueueService
from kubesweep_cli.shell.exit_codes import Exit, Nothing
from kubesweep_cli.shell.schedule_names import find, label, labels, typed_name
from kubesweep_cli.shell.state_paths import namespace_option, program, queue_option, queue_url
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import glance

__all__ = ["run_approve", "run_status", "run_trigger", "status_document", "status_table"]

_LONGEST_RETENTION = 366 * 86400.0


@asynccontextmanager
async def opened_queue(url: str) -> AsyncIterator[QueueService]:
    """The queue of this URL, closed at the end."""
    queue = connect(url)
    try:
        yield queue
    finally:
        await queue.close()


async def run_status(
    terminal: Terminal, option: str | None, name: str | None, namespace: str | None, output: str
) -> Exit:
    """A table, or with ``-o json`` everything that the queue says."""
    if output not in ("table", "json"):
        raise SpecError("BadOutput", f"-o {output}: not a kind of output.\nWrite -o table or -o json.")
    url = queue_url(option)
    async with opened_queue(url) as queue:
        known = await queue.schedules()
        refs = [find(known, name, namespace, url)] if name else [r for r in known if namespace in (None, r.namespace)]
        stats = await queue.stats(refs) if refs else ()
    if output == "json":
        terminal.line(msgspec.json.encode(status_document(refs, stats)).decode())
        return Exit.CLEAN
    if not refs:
        terminal.line(f"The queue {safe_url(url)} knows no schedule yet.")
        terminal.next_steps([(f"{program()} run -f FILE{queue_option(option)}", "sweep something")])
        return Exit.CLEAN
    terminal.show(status_table(refs, stats, time.time()))
    for name, one in zip(labels(refs), stats, strict=True):
        for note in status_notes(one, time.time()):
            terminal.warn(f"  {name}: {note}")
    _advise(terminal, option, namespace, refs, stats)
    return Exit.CLEAN


def _advise(
    terminal: Terminal,
    option: str | None,
    namespace: str | None,
    refs: Sequence[ScheduleRef],
    stats: Sequence[Stats],
) -> None:
    steps = []
    for ref, one in zip(refs, stats, strict=True):
        if one.sweep is not None and one.sweep.state == "AwaitingApproval":
            steps.append(
                (f"{program()} approve {typed_name(ref)}{queue_option(option)}", f"let the sweep of {label(ref)} go on")
            )
    if any(one.dead for one in stats):
        given = f"{namespace_option(namespace)}{queue_option(option)}"
        steps.append((f"{program()} dead list{given}", "the dead letters, grouped by error"))
    terminal.next_steps(steps)


def status_document(refs: Sequence[ScheduleRef], stats: Sequence[Stats]) -> list[dict[str, Any]]:
    """What ``-o json`` prints: for each schedule its reference and Stats, names as in the code, times in seconds."""
    return [
        {"namespace": ref.namespace, "name": ref.name, "uid": ref.uid, **msgspec.to_builtins(one)}
        for ref, one in zip(refs, stats, strict=True)
    ]


def status_table(refs: Sequence[ScheduleRef], stats: Sequence[Stats], now: float) -> Table:
    """One line a schedule: its latest sweep and its queue."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("schedule", "state", "last tick"):
        table.add_column(name, no_wrap=True, overflow="fold")
    for name in ("planned", "applied", "retrying", "dead"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("queue")
    for name, one in zip(labels(refs), stats, strict=True):
        seen = glance(name, one, now=now, clock=False)
        sweep = one.sweep
        planned, applied = (sweep.planned, sweep.applied) if sweep else (0, 0)
        tick = formatting.clock_time(one.last_tick, now) if one.last_tick is not None else "never"
        table.add_row(
            Text(name),
            Text(f"{seen.state} (DryRun)" if seen.dry else seen.state, style=seen.tone),
            tick,
            formatting.count(planned),
            "-" if seen.dry else formatting.count(applied),
            formatting.count(one.excluded - one.dead),
            Text(formatting.count(one.dead), style="bad" if one.dead else ""),
            seen.queue or Text("empty", style="faint"),
        )
    return table


def status_notes(one: Stats, now: float) -> tuple[str, ...]:
    """Why work does not go on: what workers complained of while a sweep is open, what it waits for, or why it Failed or
    Halted."""
    sweep = one.sweep
    if sweep is None:
        return ()
    if sweep.state in (SweepState.FAILED, SweepState.HALTED):
        return (f"{sweep.reason}: {sweep.message}",)
    if sweep.state.settled:
        return ()
    return glance("", one, now=now, clock=False).notes


async def run_approve(terminal: Terminal, option: str | None, name: str, namespace: str | None) -> Exit:
    """Release the Held sweep of a schedule."""
    url = queue_url(option)
    async with opened_queue(url) as queue:
        ref = find(await queue.schedules(), name, namespace, url)
        sweep = await queue.approve(ref)
    if sweep is None:
        raise Nothing(
            f"No sweep of {label(ref)} waits for approval.\n"
            f"How it stands:  {program()} status {typed_name(ref)}{queue_option(option)}"
        )
    terminal.line(f"{label(ref)}: sweep {sweep} goes on, with the cutoff that it had.")
    terminal.next_steps([(_serve(option), "does it, unless a `run` or `worker` is running already")])
    return Exit.CLEAN


def _serve(option: str | None, files: Sequence[Path] = ()) -> str:
    named = " ".join(f"-f {shlex.quote(str(file))}" for file in files) or "-f FILE"
    return f"{program()} run --once {named}{queue_option(option)}"


async def run_trigger(
    terminal: Terminal, option: str | None, name: str | None, namespace: str | None, files: Sequence[Path]
) -> Exit:
    """Start sweeps now: of the schedules in ``files``, or of one that the queue knows from an earlier sweep."""
    url = queue_url(option)
    async with opened_queue(url) as queue:
        wishes = await _wishes(queue, url, option, name, namespace, files)
        answers = [(ref, await queue.open_sweep(ref, wish)) for ref, wish in wishes]
    for ref, opened in answers:
        terminal.line(f"{label(ref)}: {_answer(opened)}")
    terminal.next_steps(
        [
            (_serve(option, files), "does it, unless a `run` or `worker` is running already"),
            (f"{program()} status{namespace_option(namespace)}{queue_option(option)}", "how it stands"),
        ]
    )
    started = all(opened.answer is OpenResult.ENQUEUED for _, opened in answers)
    return Exit.CLEAN if started else Exit.ROWS_DIED


def _answer(opened: Opened) -> str:
    if opened.answer is OpenResult.ENQUEUED:
        return f"sweep {opened.sweep} is enqueued"
    if opened.answer is OpenResult.FORBIDDEN:
        return f"not started: sweep {opened.sweep} is not finished yet"
    return f"not started: {opened.answer}"


async def _wishes(
    queue: QueueService,
    url: str,
    option: str | None,
    name: str | None,
    namespace: str | None,
    files: Sequence[Path],
) -> list[tuple[ScheduleRef, SweepRequest]]:
    if (name is None) == (not files):
        known = f"{program()} status{namespace_option(namespace)}{queue_option(option)}"
        raise SpecError("NameNeeded", f"trigger takes either a NAME or -f FILE.\nWhat there is:  {known}")
    now = time.time()
    if files:
        loaded = load(files)
        stats = await queue.stats([one.ref for one in loaded])
        return [
            (
                one.ref,
                SweepRequest(
                    tick=_tick(now, seen), plan=one.plan.version, mode=one.plan.mode, retention=one.plan.retention
                ),
            )
            for one, seen in zip(loaded, stats, strict=True)
        ]
    ref = find(await queue.schedules(), name or "", namespace, url)
    (seen,) = await queue.stats([ref])
    if seen.sweep is None:
        raise SpecError(
            "NeverSwept",
            f"{label(ref)} was never swept, so the queue does not know its plan.\n"
            f"Give its file:  {program()} trigger -f FILE{queue_option(option)}",
        )
    # Without its file nobody knows the schedule's retention here: keep every dead letter that it might keep.
    wish = SweepRequest(tick=_tick(now, seen), plan=seen.sweep.plan, mode=seen.sweep.mode, retention=_LONGEST_RETENTION)
    return [(ref, wish)]


def _tick(now: float, seen: Stats) -> float:
    return max(now, (seen.last_tick or 0.0) + 0.001)
