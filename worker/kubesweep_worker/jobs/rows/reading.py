"""Read the rows of a job, in smaller pieces where one statement for all of them times out.

A range is read with a smaller LIMIT, starting after the last key that was read; a list of keys is read in parts. A
timeout of a statement for one row is an outage.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubesweep.errors import RowError, ScopeOutage, SweepFailure
from kubesweep.queue.model import Key
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import JobContext
from kubesweep_worker.sources.base import LOCKS, Keys, Predicate, Range, Scope, SourceRow

FRACTION = 8  # a statement that times out is repeated for an eighth of its rows


def match_fails(error: RowError) -> SweepFailure:
    """A condition of match that fails on a row cannot be evaluated for it, so only an edit of match helps."""
    return SweepFailure(
        "MatchFails", f"the conditions of match fail on some row ({error.error}: {error}); correct the sql under match"
    )


@dataclass(frozen=True, slots=True)
class Rows:
    rows: list[SourceRow]
    last: bool  # the scope has no rows after these


async def read_rows(context: JobContext, run: JobRun, scope: Scope, predicate: Predicate, most: int) -> Rows:
    """The first ``most`` stale rows of the scope, in key order. Raises RowError, Outage, SweepFailure, LeaseLost."""
    try:
        rows = await context.source.stale(scope, predicate, most)
        return Rows(rows, len(rows) < most)
    except ScopeOutage as outage:
        size = len(scope.keys) if isinstance(scope, Keys) else most
        if size == 1 or outage.reason in LOCKS:
            raise
    if isinstance(scope, Keys):
        return await _by_keys(context, run, scope.keys, predicate, most)
    return await _by_limit(context, run, scope, predicate, most)


async def _by_limit(context: JobContext, run: JobRun, scope: Range, predicate: Predicate, most: int) -> Rows:
    found: list[SourceRow] = []
    step = -(-most // FRACTION)
    while len(found) < most:
        run.checkpoint()
        low = found[-1].key if found else scope.low
        part = await read_rows(context, run, Range(low, scope.high), predicate, min(step, most - len(found)))
        found += part.rows
        if part.last:
            return Rows(found, last=True)
    return Rows(found, last=False)


async def _by_keys(context: JobContext, run: JobRun, keys: tuple[Key, ...], predicate: Predicate, most: int) -> Rows:
    found: list[SourceRow] = []
    step = -(-len(keys) // FRACTION)
    for at in range(0, len(keys), step):
        run.checkpoint()
        part = await read_rows(context, run, Keys(keys[at : at + step]), predicate, most - len(found))
        found += part.rows
        if len(found) >= most:
            return Rows(found, last=False)
    return Rows(found, last=True)


async def read_keys(context: JobContext, run: JobRun, scope: Scope, predicate: Predicate) -> tuple[Key, ...]:
    """The keys of all stale rows of the scope; a list of keys is returned as it is."""
    if isinstance(scope, Keys):
        return scope.keys
    try:
        return await context.source.keys(scope, predicate)
    except RowError as error:
        raise match_fails(error) from error
    except ScopeOutage as outage:
        if outage.reason in LOCKS:
            raise
        rows = max(2, run.claim.job.rows // FRACTION)
    found: list[Key] = []
    while True:
        run.checkpoint()
        part = await read_rows(context, run, Range(found[-1] if found else scope.low, scope.high), predicate, rows)
        found += [row.key for row in part.rows]
        if part.last:
            return tuple(found)
