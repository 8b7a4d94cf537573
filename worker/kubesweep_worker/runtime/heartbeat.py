"""The heartbeat: it extends the leases of all in-flight jobs, in its own thread with its own queue connection.

A handler that blocks the event loop must not lose the leases, because another worker would repeat the effects; it must not
keep them for ever either. So the thread extends every lease each third of a lease. It stops for a job that made no progress
for ``deadline`` seconds, and then ends the process: a thread cannot be killed, a process can.

While jobs run, it also reads the pace each ``PACE_SECONDS``: a job may take minutes, and a person who slows a sweep down does so
because something is wrong now.

Where the queue answers that a lease is lost, the heartbeat marks the job (``InFlightJobs.mark_lost``, see in_flight.py).
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
from kubesweep.queue.model import Pace, ScheduleRef
from kubesweep.queue.service import QueueService
from kubesweep_worker.in_flight import InFlightJobs, JobRun
from kubesweep_worker.settings import EXIT_DEADLINE, WorkerSettings

PACE_SECONDS = 2.0
log = logging.getLogger("kubesweep.worker")


class Heartbeat:
    def __init__(
        self,
        ref: ScheduleRef,
        in_flight: InFlightJobs,
        settings: WorkerSettings,
        queue: Callable[[], QueueService],
        on_pace: Callable[[Pace | None], None] = lambda _: None,
    ) -> None:
        """``on_pace`` is called in the event loop of ``start``."""
        self._ref, self._in_flight, self._settings, self._open = ref, in_flight, settings, queue
        self._on_pace = on_pace
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: int | None = None
        self._loop_seen_at = 0.0
        self._unavailable = False
        self._thread = threading.Thread(target=self._run, name="kubesweep-heartbeat", daemon=True)

    def start(self) -> None:
        """Call it in the thread and event loop that the heartbeat watches."""
        self._loop = asyncio.get_running_loop()
        self._main = threading.get_ident()
        self._loop_seen_at = self._settings.monotonic()
        self._thread.start()

    async def close(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, 1.0)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            queue: QueueService | None = None
            beat = self._settings.heartbeat
            step = max(0.01, min(beat, self._settings.deadline / 10, PACE_SECONDS))
            due = self._settings.monotonic() + beat
            while not self._stop.wait(step):
                self._watch()
                try:
                    queue = queue or self._open()
                    if self._settings.monotonic() >= due:
                        runner.run(self.beat(queue))
                        due = self._settings.monotonic() + beat
                    runner.run(self.read_pace(queue))
                except Outage as error:
                    self._log_outage(error)  # `due` stays in the past: the next step tries again
                except Exception:  # this thread must survive any exception: without it no hang is noticed
                    log.exception("heartbeat failed unexpectedly, trying again")
            if queue is not None:
                runner.run(queue.close())

    def _log_outage(self, error: Outage) -> None:
        if not self._unavailable:
            log.warning(
                "heartbeat: the queue is unavailable, so leases are not extended", extra={"reason": error.reason}
            )
        self._unavailable = True

    async def beat(self, queue: QueueService) -> None:
        """Extend the leases of all jobs that are not past their deadline, and mark those that the queue reports as lost."""
        claims = [run.claim for run in self._in_flight.all() if not self._overdue(run)]
        if not claims:
            return
        for lost in await queue.extend(self._ref, claims, self._settings.lease):
            self._in_flight.mark_lost(lost)
        self._unavailable = False

    async def read_pace(self, queue: QueueService) -> None:
        """Call ``on_pace`` while jobs run. An outage changes nothing: the jobs keep the pace that they have."""
        if self._in_flight.running():
            with contextlib.suppress(Outage):
                self._call(self._on_pace, await queue.pace(self._ref))

    def _overdue(self, run: JobRun) -> bool:
        return not run.finished and self._settings.monotonic() - run.last_progress > self._settings.deadline

    def _watch(self) -> None:
        overdue = [run for run in self._in_flight.all() if self._overdue(run)]
        blocked = self._settings.monotonic() - self._loop_seen_at > self._settings.deadline
        if overdue or blocked:
            what = "the event loop is blocked" if blocked else "no progress"
            names = "; ".join(run.name for run in overdue or self._in_flight.running())
            self._end(f"{what} for {self._settings.deadline:g} s: {names}")
        self._call(self._record_loop)

    def _call(self, function: Callable[..., None], *given: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(function, *given)
            except RuntimeError:  # closed in between
                self._stop.set()

    def _record_loop(self) -> None:
        self._loop_seen_at = self._settings.monotonic()

    def _end(self, why: str) -> None:
        frame: FrameType | None = sys._current_frames().get(self._main or 0)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        log.critical(
            "this worker hangs and ends its process; the queue delivers its jobs to another one",
            extra={"why": why, "stack": stack},
        )
        # Where stderr is not a file (a test, an embedding program), the log entry above has the main stack.
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
            faulthandler.dump_traceback(all_threads=True)
        self._settings.exit_process(EXIT_DEADLINE)
