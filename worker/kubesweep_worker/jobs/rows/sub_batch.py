"""Read the rows of one sub-batch for the effect.

One row whose values the database cannot return (bytes that are not text in the client's encoding, a computed column that
fails) fails the whole statement. The statement is divided until that row is alone, and only that row is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kubesweep.errors import RowError
from kubesweep.queue.model import Job, Key
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.rows.read_ahead import FRESH
from kubesweep_worker.jobs.rows.reading import match_fails, read_rows
from kubesweep_worker.jobs.rows.settlement import RowFailure, scope_of
from kubesweep_worker.sources.base import Keys, Predicate, Scope, SourceRow


@dataclass(slots=True)
class SubBatch:
    """``keys`` in the database's order: those of ``rows`` and of ``failed`` together."""

    keys: tuple[Key, ...]
    rows: list[SourceRow]
    last: bool  # the job has no other rows
    failed: list[RowFailure] = field(default_factory=list)


class RowReader:
    """The sub-batches of one job. A statement reads several of them where the effect is fast: see jobs/rows/read_ahead.py."""

    def __init__(self, context: JobContext, run: JobRun, cutoff: str, size: int) -> None:
        self._context, self._run, self._cutoff = context, run, cutoff
        self._limit = self._size = size  # rows of a sub-batch, and fewer where they are wide
        self._rows: list[SourceRow] = []
        self._used = 0  # of ``_rows``
        self._last = False  # the job has no rows after ``_rows``
        self._read_at = 0.0
        self._next: tuple[Key | None, int] = None, 0  # where the job stands once all used rows are handled

    async def next(self) -> SubBatch:
        """The next stale rows, none at the end. Raises SweepFailure MatchFails where even their keys cannot be read."""
        context, job = self._context, self._run.claim.job
        age = context.settings.monotonic() - self._read_at
        # After some failures a job repeats rows before these.
        if self._used < len(self._rows) and (age > FRESH or (job.low, len(job.keys)) != self._next):
            context.read_ahead.record_discarded(self._used // self._size)
            self._rows, self._used = [], 0
        if self._used >= len(self._rows):
            if self._rows:
                context.read_ahead.record_used(self._rows, age)
            predicate, scope = await context.predicate(job, self._cutoff), scope_of(job)
            self._read_at = context.settings.monotonic()
            try:
                self._size = min(self._limit, context.read_size.most)
                most = self._size * context.read_ahead.sub_batches
                read = await read_rows(context, self._run, scope, predicate, most)
            except RowError:
                context.read_ahead.record_discarded(1)
                self._rows, self._used = [], 0
                return await _read_by_halves(context, scope, predicate, self._size)
            self._rows, self._used, self._last = read.rows, 0, read.last
            context.read_size.record([row.values for row in read.rows])
        return self._take(job)

    def _take(self, job: Job) -> SubBatch:
        rows = self._rows[self._used : self._used + self._size]
        self._used += len(rows)
        keys = tuple(row.key for row in rows)
        if keys:
            self._next = (job.low, len(job.keys) - len(keys)) if job.keys else (keys[-1], 0)
        return SubBatch(keys, rows, self._last and self._used == len(self._rows))


async def _read_by_halves(context: JobContext, scope: Scope, predicate: Predicate, most: int) -> SubBatch:
    try:
        keys = (await context.source.keys(scope, predicate))[:most]
    except RowError as error:
        raise match_fails(error) from error
    found = SubBatch(keys, [], len(keys) < most)
    parts = [keys] if keys else []
    while parts:
        part = parts.pop()
        try:
            found.rows.extend(await context.source.stale(Keys(part), Predicate(predicate.cutoff), len(part)))
        except RowError as error:
            if len(part) == 1:
                found.failed.append(RowFailure.of(part[0], error))
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
    return found
