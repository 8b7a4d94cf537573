"""``kubesweep trigger``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kubesweep.api.loading.files import load
from kubesweep.errors import SpecError
from kubesweep.queue.model import OpenResult, ScheduleRef, SweepRequest
from kubesweep.queue.service import Opened, QueueService
from kubesweep.scheduling import repeat_request, trigger_request
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.known_files import RUNS_IT, known_files, remember_files, run_again
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.output import answer, check_output, print_document, structured
from kubesweep_cli.shell.schedule_files import file_options
from kubesweep_cli.shell.schedule_names import find, label, typed_name
from kubesweep_cli.shell.state_paths import namespace_option, program, queue_option, queue_url
from kubesweep_cli.shell.suspending import suspended
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["run_trigger"]


class _Triggered(NamedTuple):
    """``opened`` None: the schedule is suspended."""

    ref: ScheduleRef
    opened: Opened | None

    @property
    def started(self) -> bool:
        return self.opened is not None and self.opened.answer is OpenResult.ENQUEUED

    @property
    def reason(self) -> str:
        if self.opened is None:
            return "Suspended"
        reasons = {OpenResult.ENQUEUED: "Triggered", OpenResult.FORBIDDEN: "SweepRunning"}
        return reasons.get(self.opened.answer, "NotOpened")

    @property
    def sentence(self) -> str:
        if self.opened is None:
            return "not started: the schedule is suspended"
        if self.started:
            return f"sweep {self.opened.sweep} is enqueued"
        if self.opened.answer is OpenResult.FORBIDDEN:
            return f"not started: sweep {self.opened.sweep} is not finished yet"
        return f"not started: {self.opened.answer}"

    def document(self) -> dict[str, Any]:
        sweep = self.opened.sweep if self.opened is not None else None
        name, space = self.ref.name, self.ref.namespace
        return answer(space, name, "Trigger", self.reason, self.sentence, refused=not self.started, sweep=sweep)


async def run_trigger(
    terminal: Terminal,
    option: str | None,
    name: str | None,
    namespace: str | None,
    files: Sequence[Path],
    output: str = "table",
) -> Exit:
    """Start sweeps now: of the schedules in ``files``, or of one that the queue has from an earlier sweep."""
    check_output(output)
    if (name is None) == (not files):
        status = f"{program()} status{namespace_option(namespace)}{queue_option(option)}"
        raise SpecError("NameNeeded", f"trigger takes either a NAME or -f FILE.\nList the schedules:  {status}")
    url = queue_url(option)
    async with open_queue(url, create=bool(files)) as queue:
        if name is None:
            requests = _requests_of_files(url, files)
        else:
            requests = [await _request_by_name(queue, url, option, name, namespace)]
        answers = [await _trigger(queue, ref, request) for ref, request in requests]
    if structured(output):
        print_document(terminal, output, [one.document() for one in answers])
    else:
        _report(terminal, url, option, namespace, files, answers)
    return Exit.CLEAN if all(one.started for one in answers) else Exit.FAILURE


async def _trigger(queue: QueueService, ref: ScheduleRef, request: SweepRequest) -> _Triggered:
    (stats,) = await queue.stats([ref])
    return _Triggered(ref, None if suspended(stats) else await queue.open_sweep(ref, request))


def _report(
    terminal: Terminal,
    url: str,
    option: str | None,
    namespace: str | None,
    files: Sequence[Path],
    answers: Sequence[_Triggered],
) -> None:
    for one in answers:
        terminal.line(f"{label(one.ref)}: {one.sentence}.")
    if files:
        run = (f"{program()} run --once {file_options(files)}{queue_option(option)}", RUNS_IT)
    else:
        run = run_again(url, [one.ref for one in answers], option)
    status = f"{program()} status{namespace_option(namespace)}{queue_option(option)}"
    resume = [
        (
            f"{program()} resume {typed_name(one.ref, full=namespace is not None)}{queue_option(option)}",
            f"let {label(one.ref)} run again",
        )
        for one in answers
        if one.opened is None
    ]
    # A suspended schedule never runs, not even with --once.
    runs = [run, (status, "show its progress")] if len(resume) < len(answers) else []
    terminal.next_steps([*resume, *runs])


def _requests_of_files(url: str, files: Sequence[Path]) -> list[tuple[ScheduleRef, SweepRequest]]:
    now, loaded = time.time(), load(files)
    remember_files(url, [(one.ref, one.file) for one in loaded])
    return [(one.ref, trigger_request(one.plan, uuid.uuid4().hex, now)) for one in loaded]


async def _request_by_name(
    queue: QueueService, url: str, option: str | None, name: str, namespace: str | None
) -> tuple[ScheduleRef, SweepRequest]:
    """A request by the plan of the schedule's latest sweep."""
    ref = find(await queue.schedules(), name, namespace, url)
    (stats,) = await queue.stats([ref])
    if stats.sweep is None:
        files = known_files(url, [ref])
        named = (
            f":  {program()} trigger {file_options([files[0].file])}{queue_option(option)}" if files else " with -f."
        )
        raise SpecError(
            "NeverSwept",
            f"{label(ref)} was never swept, so the queue does not have its plan.\nName its file{named}",
        )
    return ref, repeat_request(stats.sweep, uuid.uuid4().hex, time.time())
