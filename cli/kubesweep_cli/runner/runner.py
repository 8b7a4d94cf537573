"""``kubesweep run``: the clock, the planner and the workers of all schedules in one process.

One loop reads the queue (one call for all schedules), recovers what the queue lost, opens the due ticks and draws. The
workers run beside this loop and share only the queue with it. So several ``run`` and ``worker`` processes may serve the
same queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from kubesweep.api.loading.files import Loaded
from kubesweep.errors import Outage
from kubesweep.queue.model import OpenResult, Stats, SweepState
from kubesweep.queue.service import Opened, QueueService, stats_of_each
from kubesweep_cli.runner.notice_receiver import NoticeReceiver
from kubesweep_cli.runner.notices import Notices
from kubesweep_cli.runner.progress import ScheduleProgress
from kubesweep_cli.shell.exit_codes import Exit, code_of_sweep
from kubesweep_cli.shell.schedule_names import typed_name
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import ScheduleView

__all__ = ["RunResult", "RunSettings", "Runner", "Screen", "Workers"]

RETRY_PATIENCE = 300.0  # seconds that --once waits for rows in retry after everything else is done
STALE = "as it was when the queue last answered"


class Screen(Protocol):
    interval: float  # seconds between two updates

    def update(self, views: Sequence[ScheduleView], now: float) -> None: ...
    def show_message(self, text: str, style: str = "") -> None: ...
    def hint(self, text: str) -> None: ...


class Workers(Protocol):
    """The workers of a run. ``done`` is set when all have ended, by :meth:`stop` or because one ``failed``."""

    done: asyncio.Event
    failed: bool

    def stop(self, *, now: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class RunSettings:
    once: bool = False  # one sweep of each schedule now, then end
    clock: bool = True  # False: only work on what other processes enqueue
    wait_retries: bool = True
    patience: float = RETRY_PATIENCE  # seconds
    notify: NoticeReceiver | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    schedules: tuple[ScheduleProgress, ...]
    interrupted: bool
    terminated: bool  # by SIGTERM: the regular end of a service, not of --once
    failed: bool  # a worker ended by itself
    waiting: int  # jobs that still wait for a retry
    took: float  # seconds
    once: bool = False

    @property
    def code(self) -> Exit:
        if self.failed:
            return Exit.FAILURE
        if self.terminated:
            return Exit.TERMINATED if self.once else Exit.CLEAN
        if self.interrupted:
            return Exit.INTERRUPTED
        awaited = [one for one in self.schedules if one.awaited]
        return max((code_of_sweep(one.sweep) for one in awaited), default=Exit.CLEAN)


class Runner:
    def __init__(
        self,
        loaded: Sequence[Loaded],
        queue: QueueService,
        workers: Workers,
        screen: Screen,
        settings: RunSettings,
        now: Callable[[], float] = time.time,
        notices: Notices | None = None,
    ) -> None:
        self._queue = queue
        self._workers = workers
        self._screen = screen
        self._settings = settings
        self._now = now
        self._notices = notices
        self._started = now()
        self.schedules = tuple(ScheduleProgress(one, self._started) for one in loaded)
        self._signals = 0
        self._terminated = False
        self._wake = asyncio.Event()
        self._outage: Outage | None = None
        self._done_since: float | None = None

    @property
    def _ticking(self) -> bool:
        return self._settings.clock and not self._settings.once

    def interrupt(self, *, term: bool = False) -> None:
        """Handle a signal: the first one drains, the second one stops at once. ``term``: it was SIGTERM."""
        self._signals += 1
        self._terminated = term and self._signals == 1
        self._screen.hint(
            "stopping now" if self._signals > 1 else "finishing the rows in progress; Ctrl-C again stops at once"
        )
        self._workers.stop(now=self._signals > 1)
        self._wake.set()

    async def run(self) -> RunResult:
        """Run until a signal, or with ``once`` until everything is settled."""
        await self._start()
        while not self._workers.done.is_set():
            await self.step()
            if not self._signals and self._settings.once and self._settled():
                break
            await self._pause()
        self._workers.stop()
        await self._workers.done.wait()
        answered = await self._read(self._now()) is not None
        if self._notices is not None and answered:
            await self._notices.observe(self.schedules, self._now())
            if self._signals < 2:
                await self._notices.close(self.schedules)
        waiting = sum(one.stats.delayed for one in self.schedules)
        return RunResult(
            self.schedules,
            interrupted=bool(self._signals),
            terminated=self._terminated,
            failed=self._workers.failed,
            waiting=waiting,
            took=self._now() - self._started,
            once=self._settings.once,
        )

    async def step(self) -> None:
        """Read the queue once, act on it, and draw."""
        now = self._now()
        lost = await self._read(now)
        for one, sweep in lost or ():
            await self._recover(one, sweep, now)
        if lost is not None and self._ticking and not self._signals:
            for one in self.schedules:
                if one.stats.known:
                    await self._report_activation(one)
                if not one.suspended:
                    await self._tick(one, now)
        if lost is not None:
            await self._set_paces()
            if self._notices is not None:
                await self._notices.observe(self.schedules, now)
        views = [one.view(now, clock=self._ticking) for one in self.schedules]
        if lost is None:
            views = [replace(view, rate=None, left=None, notes=(*view.notes, STALE)) for view in views]
        self._screen.update(views, now)

    async def _set_paces(self) -> None:
        """Write the paces of the files to the queue, where ``kubesweep throttle`` may replace the rate."""
        for one in self.schedules:
            pace = one.plan.throttled(one.stats.pace.throttle if one.stats.pace else "")
            if one.stats.known and one.stats.pace != pace:
                with suppress(Outage):  # the next step tries again
                    await self._queue.set_pace(one.ref, pace)

    async def _pause(self) -> None:
        ended = asyncio.ensure_future(self._workers.done.wait())
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            waits = (ended,) if self._signals else (ended, woken)
            await asyncio.wait(waits, timeout=self._screen.interval, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            woken.cancel()

    async def _read(self, now: float) -> list[tuple[ScheduleProgress, str]] | None:
        """The schedules whose sweep the queue has lost, with its id; None while the queue does not answer."""
        try:
            answers = await self._stats()
        except Outage as error:
            if self._outage is None:
                self._screen.show_message(f"The queue cannot be reached, trying again: {error}", "warn")
            self._outage = error
            return None
        if self._outage is not None:
            self._screen.show_message("The queue answers again.", "good")
            self._outage = None
        readings = [(one, one.update(stats, now)) for one, stats in zip(self.schedules, answers, strict=True)]
        return [(one, lost) for one, lost in readings if lost is not None]

    async def _stats(self) -> list[Stats]:
        """A damaged schedule starts over, as if the queue had lost it. Raises Outage."""
        answers = await stats_of_each(self._queue, [one.ref for one in self.schedules])
        for one, stats in zip(self.schedules, answers, strict=True):
            if stats.damage:
                self._screen.show_message(f"{one.name}: {stats.damage}", "warn")
                await self._queue.forget(one.ref)
        return [Stats() if stats.damage else stats for stats in answers]

    async def _start(self) -> None:
        """Open the sweeps of ``once`` before the first drawing, which then shows them. Raises Outage."""
        now = self._now()
        for one, stats in zip(self.schedules, await self._stats(), strict=True):
            one.update(stats, now)
            if one.suspended and self._settings.clock:
                why = (
                    "spec.suspend is true"
                    if one.loaded.suspend
                    else f"`kubesweep resume {typed_name(one.ref)}` ends it"
                )
                self._screen.show_message(f"{one.name}: suspended ({why}), so it is not swept.", "warn")
            elif self._settings.once:
                await self._open_once(one, now)

    async def _open_once(self, one: ScheduleProgress, now: float) -> None:
        opened = await self._queue.open_sweep(one.ref, one.trigger_request(now))
        one.watch(opened)
        one.awaited = opened.sweep
        if opened.answer is OpenResult.FORBIDDEN:
            self._screen.show_message(f"{one.name}: an earlier sweep is not finished; continuing it.", "warn")

    async def _recover(self, one: ScheduleProgress, lost: str, now: float) -> None:
        """Open a new sweep, unless another process has: the queue is disposable, and the database has the stale rows."""
        loss = f"{one.name}: {SweepState.LOST}: the queue has lost the sweep that was running;"
        if one.sweep is not None:
            self._screen.show_message(f"{loss} another process has started a new one.", "warn")
            one.awaited = one.awaited and one.sweep.id
            return
        self._screen.show_message(f"{loss} starting a new one from the database.", "warn")
        try:
            opened = await self._queue.open_sweep(one.ref, one.recovery_request(lost, now))
        except Outage:
            return  # the next reading finds it lost again
        one.watch(opened)
        one.awaited = one.awaited and opened.sweep

    async def _report_activation(self, one: ScheduleProgress) -> None:
        if (finding := one.unreported) is not None:
            with suppress(Outage):  # the next step reports it
                await self._queue.report(one.ref, finding)

    async def _tick(self, one: ScheduleProgress, now: float) -> None:
        tick = one.due(now)
        if tick is None:
            return
        try:
            opened = await self._queue.open_sweep(one.ref, one.tick_request(tick))
        except Outage:
            one.clock.retry(now)
            return
        one.clock.answered(tick)
        one.watch(opened)
        await self._report_activation(one)
        self._report_tick(one, opened, tick, now)

    def _report_tick(self, one: ScheduleProgress, opened: Opened, tick: float, now: float) -> None:
        at = formatting.local_time(tick)
        if opened.warning:
            self._screen.show_message(f"{one.name}: {opened.warning}.", "warn")
        if opened.answer is OpenResult.FORBIDDEN:
            self._screen.show_message(f"{one.name}: tick {at} skipped, the previous sweep is not finished.", "warn")
        elif opened.answer is OpenResult.LATE:
            one.missed = tick
            late = formatting.duration(now - tick)
            self._screen.show_message(
                f"{one.name}: tick {at} missed by {late}, more than startingDeadlineSeconds.", "warn"
            )

    def _settled(self) -> bool:
        """True where ``once`` may end."""
        awaited = [one for one in self.schedules if one.awaited]
        if not all(self._over(one) for one in awaited):
            return False
        if not self._settings.wait_retries or all(self._quiet(one) for one in awaited):
            return True
        now = self._now()
        self._done_since = self._done_since or now
        return now - self._done_since > self._settings.patience

    @staticmethod
    def _over(one: ScheduleProgress) -> bool:
        sweep = one.sweep
        return sweep is not None and (sweep.state.settled or sweep.state is SweepState.AWAITING_APPROVAL)

    @staticmethod
    def _quiet(one: ScheduleProgress) -> bool:
        return one.idle or one.stats.retries_blocked or one.stats.paused
