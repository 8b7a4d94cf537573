"""The rows of one sub-batch, as they are offered to the effect.

A row whose values the database cannot hand over (bytes that are no text of the client's encoding, a column that is
computed and fails) fails the whole statement. So the statement is halved until that row is alone, and only it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kubesweep.errors import RowError
from kubesweep.queue.model import Key
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Desk
from kubesweep_worker.jobs.rows.reading import match_fails, read_rows
from kubesweep_worker.jobs.rows.settlement import Failure, scope_of
from kubesweep_worker.sources.base import Keys, SourceRow


@dataclass(slots=True)
class Offered:
    """``keys`` in the database's order: those of ``rows`` and of ``failed`` together."""

    keys: tuple[Key, ...]
    rows: list[SourceRow]
    last: bool  # the job has no other rows
    failed: list[Failure] = field(default_factory=list)


async def offered(desk: Desk, run: JobRun, cutoff: str, most: int) -> Offered:
    """Up to ``most`` stale rows of the job. Raises SweepFailure MatchFails where even their keys cannot be read."""
    job = run.claim.job
    excluded, scope = await desk.excluded(job), scope_of(job)
    try:
        read = await read_rows(desk, run, scope, cutoff, excluded, most)
        return Offered(tuple(row.key for row in read.rows), read.rows, read.last)
    except RowError:
        try:
            keys = (await desk.source.keys(scope, cutoff, excluded))[:most]
        except RowError as error:
            raise match_fails(error) from error
    found = Offered(keys, [], len(keys) < most)
    parts = [keys] if keys else []
    while parts:
        part = parts.pop()
        try:
            found.rows.extend(await desk.source.stale(Keys(part), cutoff, (), len(part)))
        except RowError as error:
            if len(part) == 1:
                found.failed.append(Failure.of(part[0], error))
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
    return found
