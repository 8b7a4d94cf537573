"""Read the rows of one sub-batch for the effect.

One row whose values the database cannot return (bytes that are not text in the client's encoding, a computed column that
fails) fails the whole statement. The statement is divided until that row is alone, and only that row is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kubesweep.errors import RowError
from kubesweep.queue.model import Key
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.jobs.rows.reading import match_fails, read_rows
from kubesweep_worker.jobs.rows.settlement import RowFailure, scope_of
from kubesweep_worker.sources.base import Keys, Predicate, SourceRow


@dataclass(slots=True)
class SubBatch:
    """``keys`` in the database's order: those of ``rows`` and of ``failed`` together."""

    keys: tuple[Key, ...]
    rows: list[SourceRow]
    last: bool  # the job has no other rows
    failed: list[RowFailure] = field(default_factory=list)


async def read_sub_batch(context: JobContext, run: JobRun, cutoff: str, most: int) -> SubBatch:
    """Up to ``most`` stale rows of the job. Raises SweepFailure MatchFails where even their keys cannot be read."""
    job = run.claim.job
    predicate, scope = await context.predicate(job, cutoff), scope_of(job)
    try:
        read = await read_rows(context, run, scope, predicate, most)
        return SubBatch(tuple(row.key for row in read.rows), read.rows, read.last)
    except RowError:
        try:
            keys = (await context.source.keys(scope, predicate))[:most]
        except RowError as error:
            raise match_fails(error) from error
    found = SubBatch(keys, [], len(keys) < most)
    parts = [keys] if keys else []
    while parts:
        part = parts.pop()
        try:
            found.rows.extend(await context.source.stale(Keys(part), Predicate(cutoff), len(part)))
        except RowError as error:
            if len(part) == 1:
                found.failed.append(RowFailure.of(part[0], error))
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
    return found
