"""Starting, planning, ending and approving sweeps."""

from __future__ import annotations

from kubesweep.queue.model import (
    AHEAD,
    BEHIND,
    HISTORY,
    RETRY_PAUSE,
    Baseline,
    Claim,
    Job,
    JobKind,
    OpenResult,
    PlanVersion,
    SweepRequest,
    SweepState,
    Window,
)
from tests.contract.helpers import REF
from tests.contract.reference_model.state import Entry, State, SweepRecord


class Sweeps(State):
    def open_sweep(self, request: SweepRequest) -> OpenResult:
        self.known = True
        for key in [
            key for key, dead_letter in self.dead_letters.items() if dead_letter.at < self.clock() - request.retention
        ]:
            del self.dead_letters[key], self.attempts[key]
        answer = self._answer(request)
        self.ticks[answer] += 1
        if answer is not OpenResult.DUPLICATE:
            self.last_tick = self._tick(request)
        return answer

    def _tick(self, request: SweepRequest) -> float:
        tick, last = self.clock() if request.tick is None else request.tick, self._last_tick()
        if tick > self.clock() + AHEAD:
            tick = self.clock()
        return tick if request.dedup_key is None or last is None or tick > last else last + BEHIND

    def _last_tick(self) -> float | None:
        return None if self.last_tick is None or self.last_tick > self.clock() + AHEAD else self.last_tick

    def _answer(self, request: SweepRequest) -> OpenResult:
        latest = self.sweeps[0] if self.sweeps else None
        if request.dedup_key is not None and self.find_sweep(request.sweep_id(REF)) is not None:
            return OpenResult.DUPLICATE
        tick, last = self._tick(request), self._last_tick()
        if last is not None and tick <= last:
            return OpenResult.DUPLICATE
        if request.deadline is not None and tick + request.deadline < self.clock():
            return OpenResult.LATE
        if latest is not None and not latest.state.settled and not request.plan.newer_than(latest.plan):
            return OpenResult.FORBIDDEN
        return OpenResult.ENQUEUED

    def opened(self, sweep: str, request: SweepRequest) -> None:
        if self.sweeps and not self.sweeps[0].state.settled:
            self._end(self.sweeps[0], SweepState.SUPERSEDED)
        assert self.last_tick is not None
        if self.sweeps and not self.sweeps[0].plan.same(request.plan):
            self._cancel_retries(request.plan)
        self.sweeps = [SweepRecord(sweep, self.last_tick, request.plan), *self.sweeps][: HISTORY + 1]
        until = self._leased_until()
        first = Job(JobKind.PLAN, request.plan, sweep)
        if until is None:
            self._enqueue(first)
        else:
            self.entries.append(Entry(first, until, delayed=True))

    def _cancel_retries(self, plan: PlanVersion) -> None:
        idle = [entry for entry in self.entries if entry.owner is None and entry.job.is_retry]
        for entry in [each for each in idle if each.job.plan is not None and not each.job.plan.same(plan)]:
            self.entries.remove(entry)
            for key in entry.job.keys:
                del self.attempts[key]
            if (record := self.find_sweep(entry.job.sweep)) is not None:
                record.retrying -= len(entry.job.keys)
                record.skipped += len(entry.job.keys)

    def enqueue_check(self, plan: PlanVersion) -> bool:
        self.known = True
        checks = [entry.job.plan for entry in self.entries if entry.job.kind is JobKind.CHECK]
        if any(each is not None and each.same(plan) for each in checks):
            return False
        self._enqueue(Job(JobKind.CHECK, plan))
        return True

    def advance(self, claim: Claim, window: Window) -> bool:
        entry = self.entry_of(claim)
        if entry is None:
            return False
        self.entries.remove(entry)
        record = self.find_open_sweep(entry.job.sweep)
        if record is None:
            self._admit()
            return False
        for job in window.entries:
            self._enqueue(job)
        record.planned += window.planned
        record.cutoff = window.cutoff
        if window.baseline is not None:
            self.baseline, self.blocked = window.baseline, False
        if window.next is None:
            record.state = SweepState.RUNNING
        self._finish(record)
        return True

    def end_sweep(self, claim: Claim, state: SweepState) -> bool:
        entry = self.entry_of(claim)
        if entry is None:
            return False
        if entry.job.is_retry:
            entry.owner, entry.ready, entry.delayed = None, self.clock() + RETRY_PAUSE, True
            entry.deliveries -= 1
        else:
            self.entries.remove(entry)
        record = self.find_open_sweep(entry.job.sweep)
        if record is None:
            self._admit()
            return False
        if state is SweepState.AWAITING_APPROVAL:
            record.cutoff = record.cutoff or claim.job.cutoff
            record.planned -= sum(entry.job.rows for entry in self.open_entries(record.id) if entry.owner is None)
            self._block_retries()
        self._end(record, state)
        return True

    def approve(self) -> str | None:
        if not self.sweeps or self.sweeps[0].state is not SweepState.AWAITING_APPROVAL:
            return None
        record = self.sweeps[0]
        record.state, self.blocked = SweepState.PLANNING, False
        self._enqueue(Job(JobKind.PLAN, record.plan, record.id, cutoff=record.cutoff, planned=record.planned))
        return record.id

    def restore_baseline(self, baseline: Baseline) -> None:
        if self.known and self.baseline is None:
            self.baseline = baseline
