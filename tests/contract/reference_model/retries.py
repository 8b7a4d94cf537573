"""Retrying and purging dead letters and rows in retry."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from kubesweep.queue.model import (
    MAX_JOB_KEYS,
    Job,
    JobKind,
    Key,
)
from tests.contract.reference_model.state import Entry, State


class Retries(State):
    def replay(self, keys: Sequence[Key] | None) -> int:
        chosen = [key for key in self.dead_letters if keys is None or key in keys]
        place = self._next_place()
        for sweep in {self.dead_letters[key].sweep for key in chosen}:
            part = [key for key in chosen if self.dead_letters[key].sweep == sweep]
            assert len(part) <= MAX_JOB_KEYS
            record = self.find_sweep(sweep)
            if record is not None:
                record.dead -= len(part)
                record.retrying += len(part)
            self._enqueue(
                Job(JobKind.KEYS, None, sweep, keys=tuple(sorted(part)), rows=len(part), is_retry=True), place
            )
        for key in chosen:
            del self.dead_letters[key]
        return len(chosen) + self._retry_now(keys, place)

    def _retry_now(self, keys: Sequence[Key] | None, place: int) -> int:
        count = 0
        for entry in [each for each in self._idle_retries() if each.delayed and each.ready > self.clock()]:
            taken = self._narrow(entry, keys, place)
            if taken:
                again = replace(entry.job, plan=None, cutoff=None, keys=taken, rows=len(taken), attempt=1)
                self._enqueue(again, place)
            count += len(taken)
        return count

    def purge(self, keys: Sequence[Key] | None) -> int:
        chosen = [key for key in self.dead_letters if keys is None or key in keys]
        for key in chosen:
            del self.dead_letters[key], self.attempts[key]
        count, place = len(chosen), self._next_place()
        for entry in self._idle_retries():
            taken = self._narrow(entry, keys, place)
            for key in taken:
                del self.attempts[key]
            if (record := self.find_sweep(entry.job.sweep)) is not None:
                record.retrying -= len(taken)
                record.skipped += len(taken)
            count += len(taken)
        return count

    def _idle_retries(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.job.is_retry and entry.owner is None]

    def _narrow(self, entry: Entry, keys: Sequence[Key] | None, place: int) -> tuple[Key, ...]:
        """Take rows out of a retry. The rest of a waiting one is queued behind the others."""
        taken = tuple(key for key in entry.job.keys if keys is None or key in keys)
        left = tuple(key for key in entry.job.keys if key not in taken)
        if taken:
            self.entries.remove(entry)
            if left:
                job = replace(entry.job, keys=left, rows=len(left))
                queued = entry.queued if entry.delayed else place
                self.entries.append(Entry(job, entry.ready, queued, entry.delayed, entry.deliveries))
        return taken
