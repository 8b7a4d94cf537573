"""The worker's sign of life, in a thread of its own with a queue connection of its own.

A handler that blocks the event loop must neither cost its worker the leases (another worker would repeat the effects)
nor keep them for ever. So the thread extends every lease in hand every third of a lease, stops doing so for a job that
made no progress for ``deadline`` seconds, and then ends the process: a thread cannot be killed, a process can.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType

from kubesweep.errors import Outage
from kubesweep.queue.model import ScheduleRef
from kubesweep.queue.service import QueueService
from kubesweep_worker.in_flight import Hands, JobRun
from kubesweep_worker.settings import EXIT_DEADLINE, WorkerSettings

log = logging.getLogger("kubesweep.worker")


class Heartbeat:
    def __init__(
        self, ref: ScheduleRef, hands: Hands, settings: WorkerSettings, queue: Callable[[], QueueService]
    ) -> None:
        self._ref, self._hands, self._settings, self._open = ref, hands, settings, queue
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: int | None = None
        self._pulse = 0.0
        self._away = False
        self._thread = threading.Thread(target=self._run, name="kubesweep-heartbeat", daemon=True)

    def start(self) -> None:
        """To be called by the thread, and inside the event loop, whose life is watched."""
        self._loop = asyncio.get_running_loop()
        self._main = threading.get_ident()
        self._pulse = self._settings.monotonic()
        self._thread.start()

    async def close(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, 1.0)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            queue: QueueService | None = None
            beat = self._settings.heartbeat
            step = max(0.01, min(beat, self._settings.deadline / 10, 5.0))
            due = self._settings.monotonic() + beat
            while not self._stop.wait(step):
                self._watch()
                if self._settings.monotonic() < due:
                    continue
                try:
                    queue = queue or self._open()
                    runner.run(self.beat(queue))
                    due = self._settings.monotonic() + beat
                except Outage as error:
                    self._tell(error)  # `due` stays in the past: the next step tries again
                except Exception:  # without this thread nobody notices a hang: it outlives every defect
                    log.exception("heartbeat: a defect, trying again")
            if queue is not None:
                runner.run(queue.close())

    def _tell(self, error: Outage) -> None:
        if not self._away:
            log.warning("heartbeat: the queue is away, leases run on", extra={"reason": error.reason})
        self._away = True

    async def beat(self, queue: QueueService) -> None:
        """Extend every lease in hand but those of jobs past their deadline; mark what the queue says is lost."""
        claims = [run.claim for run in self._hands.all() if not self._overdue(run)]
        if not claims:
            return
        for lost in await queue.extend(self._ref, claims, self._settings.lease):
            self._hands.lose(lost)
        self._away = False

    def _overdue(self, run: JobRun) -> bool:
        return not run.finished and self._settings.monotonic() - run.touched > self._settings.deadline

    def _watch(self) -> None:
        overdue = [run for run in self._hands.all() if self._overdue(run)]
        blocked = self._settings.monotonic() - self._pulse > self._settings.deadline
        if overdue or blocked:
            what = "the event loop did not turn" if blocked else "no progress"
            names = "; ".join(run.name for run in overdue or self._hands.running())
            self._end(f"{what} for {self._settings.deadline:g} s: {names}")
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # closed between the question and the call
                self._stop.set()

    def _answer(self) -> None:
        self._pulse = self._settings.monotonic()

    def _end(self, why: str) -> None:
        frame: FrameType | None = sys._current_frames().get(self._main or 0)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        log.critical(
            "this worker hangs and ends itself; the queue hands its jobs to another one",
            extra={"why": why, "stack": stack},
        )
        # Where stderr is not a file (a test, an embedding program) the log above has the main stack.
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
            faulthandler.dump_traceback(all_threads=True)
        self._settings.die(EXIT_DEADLINE)
