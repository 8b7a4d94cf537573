"""What a worker records about its work, as plain numbers. metrics/exposition.py turns a snapshot of them into metrics.

A job without rows takes 11 us, so each event costs one or two additions here and creates no object. All calls come from the
event loop of the worker.

Invariant: the seconds of all phases add up to the worker's uptime times its slots, see phases.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kubesweep.api.plan import Plan
from kubesweep.queue.model import Claim, Claims, JobKind, RowCounts
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.phases import CLAIM, IDLE, PHASES, SETTLE, THROTTLED

__all__ = ["CALL_SECONDS", "JOB_SECONDS", "KINDS", "Histogram", "Recorder", "Snapshot"]

KINDS = ("plan", "batch", "check")
KIND_OF = {JobKind.PLAN: "plan", JobKind.RANGE: "batch", JobKind.KEYS: "batch", JobKind.CHECK: "check"}
BATCH = frozenset((JobKind.RANGE, JobKind.KEYS))
# Answers of a webhook, and results of a handler.
WEBHOOK_CLASSES = ("2xx", "3xx", "4xx", "429", "5xx", "timeout", "connection")
HANDLER_CLASSES = ("ok", "error")
JOB_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """``counts`` has one entry for each bound, whose values are at most that bound, and one for larger values."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.total = tuple(bounds), [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def copy(self) -> Histogram:
        made = Histogram(self.bounds)
        made.counts, made.total = self.counts.copy(), self.total
        return made


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers of one worker at one moment. ``throttles``: the share of its speed by reason, only where something slows it down."""

    namespace: str
    schedule: str
    rows: Mapping[str, int]
    waits: Mapping[str, Histogram]  # by kind of job
    durations: Mapping[str, Histogram]
    calls: Histogram | None  # of the effect; None: the schedule has none
    responses: Mapping[str, int]
    seconds: Mapping[str, float]  # by phase
    batch_rows: int = 0
    breaker_open: bool = False
    throttles: Mapping[str, float] = field(default_factory=dict)


class Recorder:
    """``slots``: the worker's ``concurrency``."""

    def __init__(self, plan: Plan, slots: int, monotonic: Callable[[], float]) -> None:
        self._plan, self._slots, self._monotonic = plan, slots, monotonic
        self._rows = dict.fromkeys(RowCounts.__struct_fields__, 0)
        self._waits = {kind: Histogram(JOB_SECONDS) for kind in KINDS}
        self._durations = {kind: Histogram(JOB_SECONDS) for kind in KINDS}
        self._calls = Histogram(CALL_SECONDS)
        hook = plan.effect is not None and plan.effect.webhook is not None
        self._responses = dict.fromkeys(WEBHOOK_CLASSES if hook else HANDLER_CLASSES, 0)
        self._seconds = [0.0] * len(PHASES)
        self._began = monotonic()
        self._busy, self._busy_sum = 0, 0.0  # slots with a job; when their jobs began, less when jobs ended
        self._free_counted = 0.0  # seconds of free slots that ``seconds`` has
        self._free_phase = IDLE  # while no call is under way
        self._under_way = [0] * len(PHASES)  # calls of the queue by phase

    def claimed(self, claims: Claims, *, throttled: bool) -> None:
        """The queue handed out these jobs. ``throttled``: it is asked for no further ones for a while."""
        jobs, at = claims.jobs, 0
        batch = self._waits["batch"]
        others = [i for i, claim in enumerate(jobs) if claim.job.kind not in BATCH]
        for number, seconds in claims.waits:
            at += number
            for i in (i for i in others if at - number <= i < at):
                self._waits[KIND_OF[jobs[i].job.kind]].observe(seconds)
                number -= 1
            batch.observe(seconds, number)
        self.rest(THROTTLED if throttled or claims.paused or claims.wait is not None else IDLE)

    def counted(self, rows: RowCounts) -> None:
        """The queue counted these rows."""
        for outcome in self._rows:
            self._rows[outcome] += getattr(rows, outcome)

    def called(self, seconds: float, answer: str) -> None:
        """One call of the effect ended, with an answer of this class."""
        self._calls.observe(seconds)
        self._responses[answer] += 1

    def begin(self, claim: Claim, alone: bool = False) -> JobRun:
        """The job takes a slot."""
        run = JobRun(claim, self._monotonic, alone, self._seconds)
        self._busy += 1
        self._busy_sum += run.began
        return run

    def end(self, run: JobRun) -> None:
        """The job frees its slot."""
        now = self._monotonic()
        self._seconds[run.phase] += now - run.since
        self._busy -= 1
        self._busy_sum -= now
        seconds, histogram = now - run.began, self._durations[KIND_OF[run.claim.job.kind]]
        histogram.counts[bisect_left(JOB_SECONDS, seconds)] += 1  # as observe does, without a call for each job
        histogram.total += seconds

    def call_begins(self, phase: int) -> None:
        """The queue is called: free slots are in this phase, CLAIM or SETTLE."""
        self._count_free()
        self._under_way[phase] += 1

    def call_ends(self, phase: int) -> None:
        self._count_free()
        self._under_way[phase] -= 1

    def rest(self, phase: int) -> None:
        """Free slots are in this phase, IDLE or THROTTLED, while no call is under way."""
        if phase != self._free_phase:
            self._count_free()
            self._free_phase = phase

    def _count_free(self) -> None:
        seconds = self._free_seconds()
        self._seconds[self._phase_of_free()] += seconds
        self._free_counted += seconds

    def _free_seconds(self) -> float:
        """Seconds of free slots that are not counted yet."""
        now = self._monotonic()
        busy = self._busy * now - self._busy_sum
        return max(0.0, self._slots * (now - self._began) - busy - self._free_counted)

    def _phase_of_free(self) -> int:
        under_way = self._under_way
        return SETTLE if under_way[SETTLE] else CLAIM if under_way[CLAIM] else self._free_phase

    def snapshot(
        self,
        running: Iterable[JobRun],
        *,
        batch_rows: int = 0,
        breaker_open: bool = False,
        throttles: Mapping[str, float] | None = None,
    ) -> Snapshot:
        """A copy, in which the phases that are not over are counted up to now."""
        seconds, now = self._seconds.copy(), self._monotonic()
        seconds[self._phase_of_free()] += self._free_seconds()
        for run in running:
            seconds[run.phase] += max(0.0, now - run.since)
        return Snapshot(
            self._plan.namespace,
            self._plan.name,
            dict(self._rows),
            {kind: each.copy() for kind, each in self._waits.items()},
            {kind: each.copy() for kind, each in self._durations.items()},
            self._calls.copy() if self._plan.effect is not None else None,
            dict(self._responses) if self._plan.effect is not None else {},
            dict(zip(PHASES, seconds, strict=True)),
            batch_rows,
            breaker_open,
            throttles or {},
        )
