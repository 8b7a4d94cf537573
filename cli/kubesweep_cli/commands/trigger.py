"""``kubesweep trigger`` and ``kubesweep approve``."""

from __future__ import annotations

import shlex
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from kubesweep.api.loading.files import load
from kubesweep.errors import SpecError
from kubesweep.queue.model import OpenResult, ScheduleRef, SweepRequest
from kubesweep.queue.service import Opened, QueueService
from kubesweep.scheduling import repeat_request, trigger_request
from kubesweep_cli.shell.exit_codes import Exit, NotFound
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.schedule_names import find, label, typed_name
from kubesweep_cli.shell.state_paths import namespace_option, program, queue_option, queue_url
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["run_approve", "run_trigger"]

RUNS_IT = "run it, unless a `run` or `worker` is already running"


async def run_approve(terminal: Terminal, option: str | None, name: str, namespace: str | None) -> Exit:
    """Approve the sweep of a schedule that waits for it."""
    url = queue_url(option)
    async with open_queue(url) as queue:
        ref = find(await queue.schedules(), name, namespace, url)
        sweep = await queue.approve(ref)
    if sweep is None:
        raise NotFound(
            f"No sweep of {label(ref)} waits for approval.\n"
            f"Its status:  {program()} status {typed_name(ref)}{queue_option(option)}"
        )
    terminal.line(f"{label(ref)}: sweep {sweep} continues, with the same cutoff.")
    terminal.next_steps([(_run_command(option), RUNS_IT)])
    return Exit.CLEAN


async def run_trigger(
    terminal: Terminal, option: str | None, name: str | None, namespace: str | None, files: Sequence[Path]
) -> Exit:
    """Start sweeps now: of the schedules in ``files``, or of one that the queue has from an earlier sweep."""
    if (name is None) == (not files):
        status = f"{program()} status{namespace_option(namespace)}{queue_option(option)}"
        raise SpecError("NameNeeded", f"trigger takes either a NAME or -f FILE.\nList the schedules:  {status}")
    url = queue_url(option)
    async with open_queue(url) as queue:
        if name is None:
            requests = _requests_of_files(files)
        else:
            requests = [await _request_by_name(queue, url, option, name, namespace)]
        answers = [(ref, await queue.open_sweep(ref, request)) for ref, request in requests]
    for ref, opened in answers:
        terminal.line(f"{label(ref)}: {_answer(opened)}")
    terminal.next_steps(
        [
            (_run_command(option, files), RUNS_IT),
            (f"{program()} status{namespace_option(namespace)}{queue_option(option)}", "show its progress"),
        ]
    )
    started = all(opened.answer is OpenResult.ENQUEUED for _, opened in answers)
    return Exit.CLEAN if started else Exit.FAILURE


def _run_command(option: str | None, files: Sequence[Path] = ()) -> str:
    named = " ".join(f"-f {shlex.quote(str(file))}" for file in files) or "-f FILE"
    return f"{program()} run --once {named}{queue_option(option)}"


def _answer(opened: Opened) -> str:
    if opened.answer is OpenResult.ENQUEUED:
        return f"sweep {opened.sweep} is enqueued"
    if opened.answer is OpenResult.FORBIDDEN:
        return f"not started: sweep {opened.sweep} is not finished yet"
    return f"not started: {opened.answer}"


def _requests_of_files(files: Sequence[Path]) -> list[tuple[ScheduleRef, SweepRequest]]:
    now = time.time()
    return [(one.ref, trigger_request(one.plan, uuid.uuid4().hex, now)) for one in load(files)]


async def _request_by_name(
    queue: QueueService, url: str, option: str | None, name: str, namespace: str | None
) -> tuple[ScheduleRef, SweepRequest]:
    """A request by the plan of the schedule's latest sweep."""
    ref = find(await queue.schedules(), name, namespace, url)
    (stats,) = await queue.stats([ref])
    if stats.sweep is None:
        raise SpecError(
            "NeverSwept",
            f"{label(ref)} was never swept, so the queue does not have its plan.\n"
            f"Name its file:  {program()} trigger -f FILE{queue_option(option)}",
        )
    return ref, repeat_request(stats.sweep, uuid.uuid4().hex, time.time())
