"""What a run keeps in memory about one schedule between two readings of the queue."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from kubesweep import scheduling
from kubesweep.api.loading.files import Loaded
from kubesweep.api.plan import Plan
from kubesweep.queue.model import Finding, OpenResult, ScheduleRef, Stats, Sweep, SweepRequest, SweepState, last_decided
from kubesweep.queue.service import Opened
from kubesweep.ticks import Cron
from kubesweep_cli.runner.clock import Clock, activation_finding
from kubesweep_cli.shell import suspending
from kubesweep_cli.shell.schedule_names import label
from kubesweep_cli.views.schedule_view import Meter, ScheduleView, schedule_view

__all__ = ["ScheduleProgress"]

_OUTCOMES = ("applied", "skipped", "unconfirmed", "dead")


@dataclass
class ScheduleProgress:
    """Times are seconds since the epoch."""

    loaded: Loaded
    started: float  # a schedule that never ticked has missed nothing before this time
    stats: Stats = field(default_factory=Stats)
    unfinished: str | None = None  # id of the sweep that was under way at the last reading
    awaited: str | None = None  # id of the sweep that --once waits for
    lost: bool = False  # the queue lost the sweep that was under way, and no other has started since
    recovering: bool = False  # the queue lost a sweep, and none has completed since
    missed: float | None = None  # the latest tick that was too late, until a sweep of it or of a later one completes
    activation: Finding | None = None  # what fires, and since when
    clock: Clock = field(init=False)
    _before: dict[str, Sweep] | None = None  # the sweeps at the first reading
    _meter: Meter = field(default_factory=Meter)
    _metered: str = ""
    _speed: float | None = None

    def __post_init__(self) -> None:
        self.clock = Clock(self.loaded.ticks, self.started)

    @property
    def plan(self) -> Plan:
        return self.loaded.plan

    @property
    def ref(self) -> ScheduleRef:
        return self.plan.ref

    @property
    def name(self) -> str:
        return label(self.ref)

    @property
    def suspended(self) -> bool:
        """By its file, or by ``kubesweep suspend``."""
        return self.loaded.suspend or suspending.suspended(self.stats)

    @property
    def sweep(self) -> Sweep | None:
        return self.stats.sweep

    @property
    def decided(self) -> Sweep | None:
        """The latest sweep that ended by itself."""
        return last_decided(self.stats.sweeps)

    @property
    def idle(self) -> bool:
        """No job is ready, running or waiting for a retry."""
        return not (self.stats.ready or self.stats.running or self.stats.delayed)

    def update(self, stats: Stats, now: float) -> str | None:
        """Store a new reading. Returns the id of the sweep that was under way and that the queue has lost, if any.

        If ``sweep`` is another sweep then, another process has already recovered it.
        """
        sweep = stats.sweep
        lost = self.unfinished if self.unfinished and scheduling.is_lost(self.unfinished, stats) else None
        self.stats = stats
        if self.activation is None:
            self.activation = activation_finding(
                stats.findings, self.loaded.ticks, self.plan, self.started, suspended=self.loaded.suspend
            )
        if self._before is None:
            self._before = {one.id: one for one in stats.sweeps}
        self.lost = lost is not None or (self.lost and sweep is None)
        self._recover(lost)
        if sweep is None:
            self._speed = None
            return lost
        self.unfinished = None if sweep.state.settled else sweep.id
        if sweep.id != self._metered:
            self._metered, self._meter = sweep.id, Meter()
        self._speed = self._meter.feed(now, sweep.settled_rows)
        return lost

    @property
    def _completed(self) -> Sweep | None:
        """The latest sweep that ended by itself, if it Completed."""
        return self.decided if self.decided is not None and self.decided.state is SweepState.COMPLETED else None

    def _recover(self, lost: str | None) -> None:
        completed = self._completed
        self.recovering = completed is None and (self.recovering or lost is not None)
        if completed is not None and self.missed is not None and completed.tick >= self.missed:
            self.missed = None

    def restore(self, *, lost: bool, missed: bool) -> None:
        """Problems that an earlier run announced, and that the queue alone does not show. Call it after the first reading."""
        completed, last = self._completed, self.stats.last_tick
        self.recovering = self.recovering or (lost and completed is None)
        if missed and last is not None and (completed is None or completed.tick < last):
            self.missed = self.missed or last

    def due(self, now: float) -> float | None:
        """The tick to open now."""
        since = self.activation.at if self.activation else self.started
        return self.clock.due(now, self.stats.last_tick, max(since, suspending.changed_at(self.stats)))

    @property
    def unreported(self) -> Finding | None:
        """The activation, where the queue does not have it yet. The next run reads it there."""
        return None if self.activation is None or self.activation in self.stats.findings else self.activation

    @property
    def settled_earlier(self) -> tuple[tuple[Sweep, dict[str, int]], ...]:
        """Earlier sweeps whose rows in retry were settled during this run, with the outcomes of these rows."""
        changes = []
        for one in self.stats.history:
            before = (self._before or {}).get(one.id, one)
            became = {name: getattr(one, name) - getattr(before, name) for name in _OUTCOMES}
            if one.retrying < before.retrying:
                changes.append((one, {name: number for name, number in became.items() if number > 0}))
        return tuple(changes)

    def watch(self, opened: Opened) -> None:
        """From now on the sweep counts as lost if the queue does not have it, even if no reading showed it."""
        if opened.answer in (OpenResult.ENQUEUED, OpenResult.FORBIDDEN):
            self.unfinished = opened.sweep

    def tick_request(self, tick: float) -> SweepRequest:
        """A sweep for a nominal time of the schedule."""
        return scheduling.sweep_request(self.plan, tick, deadline=self.loaded.deadline)

    def trigger_request(self, now: float) -> SweepRequest:
        """A sweep that is wanted now."""
        return scheduling.trigger_request(self.plan, uuid.uuid4().hex, now)

    def recovery_request(self, lost: str, now: float) -> SweepRequest:
        """A sweep in place of the one with the id ``lost``."""
        return scheduling.recovery_request(self.plan, lost, now)

    def view(self, now: float, *, clock: bool) -> ScheduleView:
        """What to show of the schedule now. ``clock``: this process opens its ticks."""
        return schedule_view(
            self.name,
            self.stats,
            now=now,
            speed=self._speed,
            next_tick=self.clock.next,
            time_zone=ticks.time_zone if isinstance(ticks := self.loaded.ticks, Cron) else "",
            suspended=self.suspended,
            clock=clock,
            lost=self.lost,
        )
