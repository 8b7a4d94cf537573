"""The rows of one sub-batch, as they are offered to the effect.

A row whose values the database cannot hand over (bytes that are no text of the client's encoding, a column that is
computed and fails) fails the whole statement. So the statement is halved until that row is alone, and only it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kubesweep.errors import RowError
from kubesweep.queue.model import Job, Key
from kubesweep_worker.batch_job import match_fails
from kubesweep_worker.desk import Desk
from kubesweep_worker.outcome import Failure, scope_of
from kubesweep_worker.sources.base import Keys, SourceRow


@dataclass(slots=True)
class Offered:
    """``keys`` in the database's order: those of ``rows`` and of ``failed`` together."""

    keys: tuple[Key, ...]
    rows: list[SourceRow]
    failed: list[Failure] = field(default_factory=list)


async def offered(desk: Desk, job: Job, cutoff: str, most: int) -> Offered:
    """Up to ``most`` stale rows of the job. Raises SweepFailure MatchFails where even their keys cannot be read."""
    held, scope = await desk.held(job), scope_of(job)
    try:
        rows = await desk.source.stale(scope, cutoff, held, most)
        return Offered(tuple(row.key for row in rows), rows)
    except RowError:
        try:
            keys = (await desk.source.keys(scope, cutoff, held))[:most]
        except RowError as error:
            raise match_fails(error) from error
    found = Offered(keys, [])
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
