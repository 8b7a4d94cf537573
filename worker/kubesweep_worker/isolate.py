"""Find the rows that are to blame: a write that fails is halved until it succeeds or is a single row.

Each half is a transaction of its own, so what was applied stays applied whatever happens to the rest. Locked rows are
left to a second try that skips them. An outage or a shutdown in the middle is an ``Interrupted`` that says what was
achieved and which keys were not reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from kubesweep.errors import KubesweepError, Outage, RowError
from kubesweep.queue.model import Key
from kubesweep_worker.hands import JobRun
from kubesweep_worker.outcome import Failure, Tally, defect
from kubesweep_worker.sources.base import Keys, Scope, Source, Written

LOCKED = "Locked"


class Interrupted(KubesweepError):
    """A write stopped half-way: ``tally`` is settled already in the database, ``remaining`` was not (surely) reached."""

    def __init__(self, tally: Tally, remaining: tuple[Key, ...], cause: BaseException) -> None:
        super().__init__(str(cause))
        self.tally, self.remaining, self.cause = tally, remaining, cause


async def write_once(source: Source, scope: Scope, cutoff: str, held: Collection[Key], tally: Tally) -> None:
    """One write, with a second try that skips rows locked by others. Raises RowError, Outage, SweepFailure."""
    try:
        written = await _write(source, scope, cutoff, held)
    except Outage as outage:
        if outage.reason != LOCKED:
            raise
        written = await _write(source, scope, cutoff, held, skip_locked=True)
    tally.add(written)


async def _write(
    source: Source, scope: Scope, cutoff: str, held: Collection[Key], *, skip_locked: bool = False
) -> Written:
    """A defect of ours counts as a refusal: halving finds the row that provokes it, and the others are written."""
    try:
        return await source.write(scope, cutoff, held, skip_locked=skip_locked)
    except (KubesweepError, MemoryError):
        raise
    except Exception as error:
        raise defect(error) from error


async def write_keys(
    source: Source, keys: tuple[Key, ...], cutoff: str, held: Collection[Key], tally: Tally, run: JobRun
) -> None:
    """Write exactly ``keys``, halving where rows are refused; refused rows are added to ``tally.failed``.

    Raises Interrupted, SweepFailure, LeaseLost.
    """
    parts = [keys] if keys else []
    while parts:
        part = parts.pop()
        run.checkpoint()
        try:
            await write_once(source, Keys(part), cutoff, held, tally)
        except RowError as error:
            if len(part) == 1:
                tally.failed.append(Failure.of(part[0], error))
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
        except (Outage, asyncio.CancelledError) as cause:
            remaining = part + tuple(key for other in reversed(parts) for key in other)
            raise Interrupted(tally, remaining, cause) from cause
