"""Settling jobs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kubesweep.queue.model import (
    FLOOD,
    FailedRow,
    Job,
    JobKind,
    Limits,
    Settlement,
    SweepState,
)
from tests.contract.reference_model.state import DeadLetterRecord, Entry, State, SweepRecord


class Settling(State):
    def settle(self, settlements: Sequence[Settlement], limits: Limits) -> tuple[set[str], set[str], set[str]]:
        """The ids that are lost, and the sweeps that are finished and halted."""
        lost, failing, affected, unused = set(), set(), [], 0
        self.overflowing: set[str] = set()
        for s in settlements:
            entry = self.entry_of(s.claim)
            if entry is None:
                lost.add(s.claim.id)
                continue
            if s.rest is not None and s.rest == entry.job != s.claim.job:
                entry.lease = self.clock() + limits.lease  # this part was counted before
                continue
            affected.append(entry.job.sweep)
            if s.retry or s.dead:
                failing.add(entry.job.sweep)
            record = self.find_open_sweep(entry.job.sweep)
            if s.sweep_failure is not None and record is not None and record.end_reason != "TooManyFailedRows":
                record.end_reason = s.sweep_failure[0]
            self._settle(entry, s, limits)
            unused += s.refund
        self.refund(unused, limits.rows_per_second)
        self._admit()
        halted, finished = set[str](), set[str]()
        for record in filter(None, map(self.find_sweep, affected)):
            if record.state.settled and record.state is not SweepState.COMPLETED:
                continue
            reason = self._halt_reason(record) if record.id in failing else ""
            if reason and limits.halt_at_end and not record.state.settled:
                record.end_reason = (
                    reason if reason == "TooManyFailedRows" or record.end_reason in ("", "Flood") else record.end_reason
                )
                reason = ""
            if reason:
                self._end(record, SweepState.HALTED)
                halted.add(record.id)
            elif self._finish(record):
                (finished if record.state is SweepState.COMPLETED else halted).add(record.id)
        return lost, finished, halted

    def _settle(self, entry: Entry, s: Settlement, limits: Limits) -> None:
        before = entry.job
        if before.plan is not None and self.sweeps and not before.plan.same(self.sweeps[0].plan):
            late = sum(len(group.rows) for group in s.retry)  # the sweep of the newer plan finds them
            s = msgspec.structs.replace(s, retry=(), skipped=s.skipped + late)
        if s.rest is None:
            self.entries.remove(entry)
        else:
            entry.job, entry.lease = s.rest, self.clock() + limits.lease
        for job in s.jobs:
            if job.is_retry or self.find_open_sweep(job.sweep) is not None:
                self._enqueue(job)
        skipped = s.skipped
        retried = dead = 0
        for group in s.retry:
            rows = [row for row in group.rows if self._fail(row, before, None, limits)]
            retried += len(rows)
            skipped += len(group.rows) - len(rows)
            if rows:
                keys = tuple(row.key for row in rows)
                again = Job(
                    JobKind.KEYS, before.plan, before.sweep, before.cutoff, keys=keys, rows=len(keys),
                    attempt=group.attempt, is_retry=True,
                )  # fmt: skip
                self.entries.append(Entry(again, self.clock() + group.delay, delayed=True))
        for row in s.dead:
            if self._fail(row, before, DeadLetterRecord(row.error, before.sweep, self.clock()), limits):
                dead += 1
            else:
                skipped += 1
        self._count(before, s, skipped, retried, dead, limits)
        if before.is_retry:
            failed = {row.key for group in s.retry for row in group.rows} | {row.key for row in s.dead}
            stay = failed | {key for job in (*s.jobs, *filter(None, [s.rest])) for key in job.keys}
            for key in set(before.keys) - stay:
                del self.attempts[key]

    def _fail(self, row: FailedRow, job: Job, dead_letter: DeadLetterRecord | None, limits: Limits) -> bool:
        if row.key in self.attempts and not (job.is_retry and row.key in job.keys):
            return False
        if row.key not in self.attempts and len(self.attempts) >= limits.halt_above:
            self.overflowing.add(job.sweep)
            return False
        self.attempts.setdefault(row.key, []).append(row.error)
        if dead_letter is not None:
            self.dead_letters[row.key] = dead_letter
        return True

    def _count(self, job: Job, s: Settlement, skipped: int, retried: int, dead: int, limits: Limits) -> None:
        record = self.find_sweep(job.sweep)
        if record is None:
            return
        record.applied += s.applied
        record.skipped += skipped
        record.unconfirmed += s.unconfirmed
        record.dead += dead
        for row in s.dead[:dead]:
            record.deaths[row.error] = record.deaths.get(row.error, 0) + 1
        if job.is_retry:
            record.retrying -= s.applied + skipped + s.unconfirmed + dead
        else:
            record.retrying += retried
            record.planned += s.extra

    def _halt_reason(self, record: SweepRecord) -> str:
        if record.id in self.overflowing and not record.state.settled:
            return "TooManyFailedRows"
        return "Flood" if max(record.deaths.values(), default=0) >= FLOOD and record.applied == 0 else ""
