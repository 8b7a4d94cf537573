"""``kubesweep run``: the clock, the planner and the workers of every schedule in one process.

One loop looks at the queue (one call for all schedules), then ticks what is due, heals what was lost, and draws. The workers
run beside it and know nothing of it; everything that they agree on is in the queue, so that more ``run``s and ``worker``s
may serve the same queue.
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
from kubesweep.queue.model import OpenResult, SweepState
from kubesweep.queue.service import QueueService
from kubesweep_cli.runner.progress import Track
from kubesweep_cli.shell.exit_codes import Exit, code_of_sweep
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import Glance

__all__ = ["Crew", "Ending", "RunSettings", "Runner", "Screen"]

RETRY_PATIENCE = 300.0  # how long --once waits for rows in retry after everything else is done

STALE = "as it was when the queue was last seen"


class Screen(Protocol):
    interval: float

    def update(self, glances: Sequence[Glance], now: float) -> None: ...
    def remark(self, text: str, style: str = "") -> None: ...
    def hint(self, text: str) -> None: ...


class Crew(Protocol):
    """The workers of a run. ``done`` is set when all have ended, by :meth:`stop` or because one ``failed``."""

    done: asyncio.Event
    failed: bool

    def stop(self, *, now: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class RunSettings:
    once: bool = False  # one sweep now for each schedule, then end
    clock: bool = True  # False: work on what others enqueue
    wait_retries: bool = True
    patience: float = RETRY_PATIENCE


@dataclass(frozen=True, slots=True)
class Ending:
    tracks: tuple[Track, ...]
    interrupted: bool
    dismissed: bool  # by SIGTERM from a service that has no end of its own: the regular way out
    failed: bool  # a worker gave up by itself
    waiting: int  # jobs that still wait for a retry
    took: float

    @property
    def code(self) -> Exit:
        if self.failed:
            return Exit.ROWS_DIED
        if self.dismissed:
            return Exit.CLEAN
        if self.interrupted:
            return Exit.INTERRUPTED
        swept = [track for track in self.tracks if track.opened]
        return max((code_of_sweep(track.sweep) for track in swept), default=Exit.CLEAN)


class Runner:
    def __init__(
        self,
        loaded: Sequence[Loaded],
        queue: QueueService,
        crew: Crew,
        screen: Screen,
        settings: RunSettings,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._crew = crew
        self._screen = screen
        self._settings = settings
        self._now = now
        self._started = now()
        self.tracks = tuple(Track(one, self._started) for one in loaded)
        self._signals = 0
        self._dismissed = False
        self._wake = asyncio.Event()
        self._outage: str | None = None
        self._done_since: float | None = None

    def interrupt(self, *, term: bool = False) -> None:
        """A signal: the first drains, the second stops now. ``term``: it was SIGTERM."""
        self._signals += 1
        self._dismissed = term and self._signals == 1 and not self._settings.once
        self._screen.hint(
            "stopping now" if self._signals > 1 else "finishing the rows in hand; Ctrl-C again stops at once"
        )
        self._crew.stop(now=self._signals > 1)
        self._wake.set()

    async def run(self) -> Ending:
        """Until interrupted, or with ``once`` until everything is settled."""
        await self._first()
        while not self._crew.done.is_set():
            await self.step()
            if not self._signals and self._settings.once and self._settled():
                break
            await self._pause()
        self._crew.stop()
        await self._crew.done.wait()
        await self._look(self._now())
        waiting = sum(track.stats.delayed for track in self.tracks)
        return Ending(
            self.tracks,
            interrupted=bool(self._signals),
            dismissed=self._dismissed,
            failed=self._crew.failed,
            waiting=waiting,
            took=self._now() - self._started,
        )

    async def step(self) -> None:
        """One look and what follows from it."""
        now = self._now()
        lost = await self._look(now)
        for track in lost or ():
            await self._heal(track, now)
        if lost is not None and self._settings.clock and not self._settings.once and not self._signals:
            for track in self.tracks:
                if track.stats.known:
                    await self._tell_active(track)
                if not track.suspended:
                    await self._tick(track, now)
        clock = self._settings.clock and not self._settings.once
        glances = [track.glance(now, clock=clock) for track in self.tracks]
        if lost is None:
            glances = [replace(one, rate=None, left=None, notes=(*one.notes, STALE)) for one in glances]
        self._screen.update(glances, now)

    async def _pause(self) -> None:
        ended = asyncio.ensure_future(self._crew.done.wait())
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            waits = (ended,) if self._signals else (ended, woken)
            await asyncio.wait(waits, timeout=self._screen.interval, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            woken.cancel()

    async def _look(self, now: float) -> list[Track] | None:
        """The schedules that the queue has lost; None while it cannot be asked."""
        try:
            answers = await self._queue.stats([track.ref for track in self.tracks])
        except Outage as error:
            if self._outage is None:
                self._screen.remark(f"The queue cannot be reached, trying again: {error}", "warn")
            self._outage = str(error)
            return None
        if self._outage is not None:
            self._screen.remark("The queue is back.", "good")
            self._outage = None
        return [track for track, stats in zip(self.tracks, answers, strict=True) if track.look(stats, now)]

    async def _first(self) -> None:
        """What is opened at the start, so that the first picture already shows it. Raises Outage: nothing has begun yet."""
        now = self._now()
        answers = await self._queue.stats([track.ref for track in self.tracks])
        for track, stats in zip(self.tracks, answers, strict=True):
            track.look(stats, now)
            if track.suspended and self._settings.clock:
                self._screen.remark(f"{track.name}: suspended (spec.suspend is true), so it is not swept.", "warn")
            elif self._settings.once:
                await self._once(track, now)

    async def _once(self, track: Track, now: float) -> None:
        opened = await self._queue.open_sweep(track.ref, track.demand(now))
        track.expect(opened)
        track.opened = opened.sweep
        if opened.answer is OpenResult.FORBIDDEN:
            self._screen.remark(f"{track.name}: an earlier sweep is not finished; going on with it.", "warn")

    async def _heal(self, track: Track, now: float) -> None:
        """The queue is disposable: what it lost is planned again from the database, by whoever sees it first."""
        gone = f"{track.name}: {SweepState.LOST}: the queue has forgotten the sweep that was running;"
        if track.sweep is not None:
            self._screen.remark(f"{gone} another process has started it anew.", "warn")
            track.opened = track.opened and track.sweep.id
            return
        self._screen.remark(f"{gone} starting it anew from the database.", "warn")
        try:
            opened = await self._queue.open_sweep(track.ref, track.demand(now))
        except Outage:
            track.watching = "lost"  # found lost again at the next look
            return
        track.expect(opened)
        track.opened = track.opened and opened.sweep

    async def _tell_active(self, track: Track) -> None:
        """The queue keeps what fires since when, for the next run."""
        if (finding := track.unsaid) is not None:
            with suppress(Outage):  # said at the next look
                await self._queue.report(track.ref, finding)

    async def _tick(self, track: Track, now: float) -> None:
        tick = track.due(now)
        if tick is None:
            return
        try:
            opened = await self._queue.open_sweep(track.ref, track.wish(tick))
        except Outage:
            track.clock.again(now)
            return
        track.clock.dealt(tick)
        track.expect(opened)
        await self._tell_active(track)
        at = formatting.clock_time(tick, now)
        if opened.warning:
            self._screen.remark(f"{track.name}: {opened.warning}.", "warn")
        if opened.answer is OpenResult.FORBIDDEN:
            self._screen.remark(f"{track.name}: tick {at} skipped, the sweep before it is not finished.", "warn")
        elif opened.answer is OpenResult.LATE:
            late = formatting.duration(now - tick)
            self._screen.remark(f"{track.name}: tick {at} missed by {late}, more than startingDeadlineSeconds.", "warn")

    def _settled(self) -> bool:
        swept = [track for track in self.tracks if track.opened]
        if not all(self._over(track) for track in swept):
            return False
        if not self._settings.wait_retries or all(self._quiet(track) for track in swept):
            return True
        now = self._now()
        self._done_since = self._done_since or now
        return now - self._done_since > self._settings.patience

    @staticmethod
    def _over(track: Track) -> bool:
        sweep = track.sweep
        return sweep is not None and (sweep.state.settled or sweep.state is SweepState.AWAITING_APPROVAL)

    @staticmethod
    def _quiet(track: Track) -> bool:
        waits = track.sweep is not None and track.sweep.state is SweepState.AWAITING_APPROVAL
        return track.idle or waits or track.stats.paused
