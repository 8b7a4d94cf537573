"""Read the rows of a job, in smaller pieces where the statement for all of them times out.

A range is read by a smaller LIMIT, from the key behind the last one that was read; a list of keys by fewer of them. A
statement for one row that times out is an outage.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from kubesweep.errors import RowError, ScopeOutage, SweepFailure
from kubesweep.queue.model import Key
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Desk
from kubesweep_worker.sources.base import LOCKS, Keys, Range, Scope, SourceRow

LESS = 8  # a statement that times out is asked again for this fraction of its rows


def match_fails(error: RowError) -> SweepFailure:
    """A condition that fails on a row cannot even be asked about it: only an edit of match helps."""
    return SweepFailure(
        "MatchFails", f"the conditions of match fail on some row ({error.error}: {error}); correct the sql under match"
    )


@dataclass(frozen=True, slots=True)
class Rows:
    rows: list[SourceRow]
    last: bool  # no row of the scope lies behind these


async def read_rows(desk: Desk, run: JobRun, scope: Scope, cutoff: str, excluded: Collection[Key], most: int) -> Rows:
    """The first ``most`` stale rows of the scope, in key order. Raises RowError, Outage, SweepFailure, LeaseLost."""
    try:
        rows = await desk.source.stale(scope, cutoff, excluded, most)
        return Rows(rows, len(rows) < most)
    except ScopeOutage as outage:
        size = len(scope.keys) if isinstance(scope, Keys) else most
        if size == 1 or outage.reason in LOCKS:
            raise
    if isinstance(scope, Keys):
        return await _by_keys(desk, run, scope.keys, cutoff, excluded, most)
    return await _by_limit(desk, run, scope, cutoff, excluded, most)


async def _by_limit(desk: Desk, run: JobRun, scope: Range, cutoff: str, excluded: Collection[Key], most: int) -> Rows:
    found: list[SourceRow] = []
    step = -(-most // LESS)
    while len(found) < most:
        run.checkpoint()
        low = found[-1].key if found else scope.low
        part = await read_rows(desk, run, Range(low, scope.high), cutoff, excluded, min(step, most - len(found)))
        found += part.rows
        if part.last:
            return Rows(found, last=True)
    return Rows(found, last=False)


async def _by_keys(
    desk: Desk, run: JobRun, keys: tuple[Key, ...], cutoff: str, excluded: Collection[Key], most: int
) -> Rows:
    found: list[SourceRow] = []
    step = -(-len(keys) // LESS)
    for at in range(0, len(keys), step):
        run.checkpoint()
        part = await read_rows(desk, run, Keys(keys[at : at + step]), cutoff, excluded, most - len(found))
        found += part.rows
        if len(found) >= most:
            return Rows(found, last=False)
    return Rows(found, last=True)


async def read_keys(desk: Desk, run: JobRun, scope: Scope, cutoff: str, excluded: Collection[Key]) -> tuple[Key, ...]:
    """The keys of all stale rows of the scope; a list of keys is what it is."""
    if isinstance(scope, Keys):
        return scope.keys
    try:
        return await desk.source.keys(scope, cutoff, excluded)
    except RowError as error:
        raise match_fails(error) from error
    except ScopeOutage as outage:
        if outage.reason in LOCKS:
            raise
        rows = max(2, run.claim.job.rows // LESS)
    found: list[Key] = []
    while True:
        run.checkpoint()
        part = await read_rows(desk, run, Range(found[-1] if found else scope.low, scope.high), cutoff, excluded, rows)
        found += [row.key for row in part.rows]
        if part.last:
            return tuple(found)
