"""What a run remembers of one schedule between two looks at the queue."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import msgspec

from kubesweep.api.loading.files import Loaded
from kubesweep.api.plan import Plan
from kubesweep.queue.model import Finding, OpenResult, ScheduleRef, Stats, Sweep, SweepRequest
from kubesweep.queue.service import Opened
from kubesweep_cli.runner.clock import Clock, active_finding
from kubesweep_cli.shell.schedule_names import label
from kubesweep_cli.views.schedule_view import Glance, Meter, glance

__all__ = ["Track"]


@dataclass
class Track:
    loaded: Loaded
    started: float  # a schedule that never ticked has missed nothing before this moment
    stats: Stats = field(default_factory=Stats)
    watching: str | None = None  # the sweep that was last seen unsettled
    opened: str | None = None  # the sweep that --once waits for
    lost: bool = False  # the sweep that was running is gone, and no other has been seen since
    active: Finding | None = None  # what fires, and since when
    clock: Clock = field(init=False)
    _found: dict[str, Sweep] | None = None  # the sweeps that were there before us, as they were then
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
        return self.loaded.suspend

    @property
    def sweep(self) -> Sweep | None:
        return self.stats.sweep

    @property
    def idle(self) -> bool:
        """Nothing waits, runs or is to be retried."""
        return not (self.stats.ready or self.stats.running or self.stats.delayed)

    def look(self, stats: Stats, now: float) -> bool:
        """Take in a new reading. True where the sweep that was running is gone: the queue has lost it. Where ``sweep`` is
        another one then, somebody else has healed it already."""
        sweep = stats.sweep
        remembered = {one.id for one in (sweep, *stats.history) if one is not None}
        lost = self.watching is not None and self.watching not in remembered
        self.stats = stats
        if self.active is None:
            self.active = active_finding(
                stats.findings, self.loaded.ticks, self.plan, self.started, suspended=self.suspended
            )
        if self._found is None:
            self._found = {one.id: one for one in (sweep, *stats.history) if one is not None}
        self.lost = lost or (self.lost and sweep is None)
        if sweep is None:
            self._speed = None
            return lost
        self.watching = None if sweep.state.settled else sweep.id
        if sweep.id != self._metered:
            self._metered, self._meter = sweep.id, Meter()
        self._speed = self._meter.feed(now, sweep.settled_rows)
        return lost

    def due(self, now: float) -> float | None:
        """The tick to open now."""
        return self.clock.ask(now, self.stats.last_tick, self.active.at if self.active else self.started)

    @property
    def unsaid(self) -> Finding | None:
        """What the queue should keep of the schedule for the next run, and did not when we looked."""
        return None if self.active is None or self.active in self.stats.findings else self.active

    @property
    def settled_earlier(self) -> tuple[tuple[Sweep, dict[str, int]], ...]:
        """Sweeps of before of which rows that waited for a retry came to an end meanwhile, and what became of them."""
        changes = []
        for one in self.stats.history:
            found = (self._found or {}).get(one.id, one)
            ends = ("applied", "skipped", "unconfirmed", "dead")
            became = {name: getattr(one, name) - getattr(found, name) for name in ends}
            if one.retrying < found.retrying:
                changes.append((one, {name: number for name, number in became.items() if number > 0}))
        return tuple(changes)

    def expect(self, opened: Opened) -> None:
        """From now on this sweep is missed if the queue does not have it, even if it was never seen there."""
        if opened.answer in (OpenResult.ENQUEUED, OpenResult.FORBIDDEN):
            self.watching = opened.sweep

    def wish(self, tick: float) -> SweepRequest:
        """For a nominal time of the schedule."""
        return self._wish(tick, self.loaded.deadline)

    def demand(self, now: float) -> SweepRequest:
        """For a sweep that is wanted now. It is never late, however far the queue's clock is from ours, and never a duplicate,
        whoever else opens one at the same moment."""
        return msgspec.structs.replace(self._wish(now, None), dedup_key=uuid.uuid4().hex)

    def _wish(self, tick: float, deadline: float | None) -> SweepRequest:
        return SweepRequest(
            tick=tick,
            plan=self.plan.version,
            mode=self.plan.mode,
            deadline=deadline,
            retention=self.plan.retention,
        )

    def glance(self, now: float, *, clock: bool) -> Glance:
        return glance(
            self.name,
            self.stats,
            now=now,
            speed=self._speed,
            next_tick=self.clock.next,
            suspended=self.suspended,
            clock=clock,
            lost=self.lost,
        )
