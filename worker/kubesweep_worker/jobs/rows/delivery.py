"""The effects of one sub-batch, side by side, and the question whose fault a failure is.

A receiver that fails for some rows while it serves others refuses *those rows*; one that fails for most is *away*. The
first spends attempts (or one poison row would hold its sweep for ever), the second spends none (or an outage would bury
innocents). ``blame`` decides, and docs/adr/0011 and 0102 say why.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto

from kubesweep.errors import LeaseLost, Outage, RowError, Skip, SweepFailure
from kubesweep.queue.model import Job, Key
from kubesweep_worker.effects.base import Delivery, NotBegun, as_row_error, idempotency_key
from kubesweep_worker.flow_control.backoff import LONGEST, heeded
from kubesweep_worker.flow_control.circuit_breaker import IN_A_ROW
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Desk
from kubesweep_worker.jobs.rows.settlement import Failure
from kubesweep_worker.sources.base import SourceRow

FEW = 5  # up to so many rows a sub-batch proves nothing about the receiver
STRIKES = 5  # probes in a row that failed before a few rows are held back, unblamed
SETBACKS = 2  # times that a job failed whole before its rows make room for others, once the receiver serves these
GATEWAY = frozenset({"Http502", "Http503", "Http504", "Http408", "Http425", "Http429", "Timeout", "Unreachable"})


@dataclass(slots=True)
class Delivered:
    ok: list[Key] = field(default_factory=list)
    skipped: list[Key] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    unspent: list[Failure] = field(default_factory=list)
    down: list[Key] = field(default_factory=list)  # not delivered, or nobody knows: offered again
    left: list[Key] = field(default_factory=list)  # not begun, because the worker stops: offered again
    outage: Outage | None = None
    stamps: dict[Key, str] = field(default_factory=dict)  # the Idempotency-Key of each row in ``ok``
    known: int = 0  # rows in ``ok`` whose effect had succeeded before
    whole: bool = False  # nothing got through
    split: bool = False  # the rows in ``down`` are tried again in groups of FEW


class Blame(Enum):
    ROWS = auto()  # they spend an attempt
    WORLD = auto()  # the job is given back, nothing is spent
    NOBODY = auto()  # held back under the same attempt number
    SPLIT = auto()  # tried again in groups of FEW


def convicted(job: Job) -> bool:
    """Its rows failed before, while the receiver served others."""
    return job.is_retry and job.attempt > 1


def blame(
    *, down: int, answered: int, reason: str, job: Job, vouched: bool, strikes: int, asked: bool = False
) -> Blame:
    """Whose fault are ``down`` infrastructure failures beside ``answered`` calls that got through?

    ``vouched``: the receiver served others lately. ``strikes``: outages in a row without a job that worked. ``asked``: the
    receiver said when to come again, which a few rows can do by themselves.
    """
    total = down + answered
    if answered and 2 * down <= total:
        return Blame.NOBODY if strikes and not convicted(job) else Blame.ROWS
    if convicted(job):
        refused = vouched or (reason not in GATEWAY and not strikes)
        return Blame.ROWS if refused else Blame.NOBODY
    if total <= FEW:
        if vouched:
            return Blame.ROWS
        return Blame.NOBODY if job.is_retry or asked or max(strikes, job.whole_failures) >= STRIKES else Blame.WORLD
    if job.is_retry:
        return Blame.SPLIT if vouched else Blame.WORLD
    gave_way = vouched and job.whole_failures >= SETBACKS
    return Blame.NOBODY if gave_way or (job.whole_failures >= STRIKES and job.rows <= total) else Blame.WORLD


class _Round:
    def __init__(self, desk: Desk, run: JobRun, cutoff: str, rows: list[SourceRow]) -> None:
        self.desk, self.run, self.cutoff = desk, run, cutoff
        self.rows = iter(rows)
        self.result = Delivered()
        self.outages: dict[Key, Outage] = {}
        self.tail: list[Key] = []  # failed since the last call that got through
        self.convicted = convicted(run.claim.job)
        self.vouched = desk.breaker.vouches
        self.told = dict(run.claim.job.effects_done)
        self.cut = False  # nobody answers: the rows not begun are not tried

    async def lane(self) -> None:
        for row in self.rows:
            if self.desk.draining:
                self.result.left.append(row.key)
            elif self.cut:
                self.result.down.append(row.key)
            else:
                await self.one(row)
                await asyncio.sleep(0)  # a handler that awaits nothing must not keep a stop from being noticed

    async def one(self, row: SourceRow) -> None:
        desk, job = self.desk, self.run.claim.job
        assert desk.effect is not None
        try:
            stamp = idempotency_key(desk.plan.uid, row.key, row.stamp)
            if self.told.get(row.key) == stamp:  # only its write is missing
                self.result.known += 1
                self.result.ok.append(row.key)
                self.result.stamps[row.key] = stamp
                return
            delivery = Delivery(row.key, row.values, stamp, self.cutoff, job.attempt, job.sweep, self._begin)
            async with desk.calls:
                if desk.draining or (desk.pace is not None and not await desk.pace.turn(self.run)):
                    self.result.left.append(row.key)
                    return
                self.run.touch()  # its turn came: waiting behind other jobs' calls is no hang
                await desk.effect.deliver(delivery)
        except NotBegun:
            self.result.left.append(row.key)
            return
        except Skip:
            self.result.skipped.append(row.key)
        except RowError as error:
            self.result.failed.append(Failure.of(row.key, error))
        except Outage as outage:
            self._failed(row.key, outage)
            return
        except (SweepFailure, LeaseLost):
            raise
        except Exception as error:  # nothing that an effect does with one row concerns the others
            self.result.failed.append(Failure.of(row.key, as_row_error(error)))
        else:
            self.result.ok.append(row.key)
            self.result.stamps[row.key] = stamp
        self.tail.clear()
        desk.breaker.record(True)

    def _begin(self) -> None:
        if self.desk.draining:
            raise NotBegun

    def _failed(self, key: Key, outage: Outage) -> None:
        self.outages[key] = outage
        self.tail.append(key)
        if self.convicted:  # rows that always fail say nothing of the receiver
            nobody_answers = len(self.tail) >= IN_A_ROW
        else:
            self.desk.breaker.record(False)
            nobody_answers = self.desk.breaker.open
        self.cut = self.cut or (nobody_answers and outage.reason in GATEWAY)

    def typical(self) -> Outage:
        """What stands for all outages: at least half of them asked for its pause or a longer one, so that a single row
        speaks for itself only."""
        by_pause = sorted(self.outages.values(), key=lambda o: heeded(o.retry_after, LONGEST))
        return by_pause[(len(by_pause) - 1) // 2]

    def conclude(self) -> Delivered:
        result, job = self.result, self.run.claim.job
        if not self.outages:
            return result
        answered = len(result.ok) - result.known + len(result.skipped) + len(result.failed)
        down = len(self.outages) + len(result.down)
        typical = self.typical()
        strikes = self.desk.gate.strikes
        fault = blame(
            down=down,
            answered=answered,
            reason=typical.reason,
            job=job,
            vouched=self.vouched,
            strikes=strikes,
            asked=heeded(typical.retry_after, LONGEST) > 0,
        )
        self._sort(fault, typical, answered)
        if result.down and not result.split:
            result.outage = typical
        elif self.desk.breaker.open and not self.convicted and not (fault is Blame.NOBODY and result.whole):
            self.desk.shut(typical)
        return result

    def _sort(self, fault: Blame, typical: Outage, answered: int) -> None:
        """Say of each row that failed what becomes of it."""
        result = self.result
        result.whole = not answered
        result.split = fault is Blame.SPLIT
        # So many after the last success are the beginning of an outage.
        went = set(self.tail) if answered and len(self.tail) > FEW and not self.convicted else set()
        for key, outage in self.outages.items():
            failure = Failure(key, outage.reason, str(outage), outage.retry_after)
            if fault in (Blame.WORLD, Blame.SPLIT) or key in went:
                result.down.append(key)
            else:
                (result.failed if fault is Blame.ROWS else result.unspent).append(failure)
        if self.convicted or (fault is Blame.NOBODY and result.whole):
            result.unspent += [Failure(k, typical.reason, str(typical), typical.retry_after) for k in result.down]
            result.down.clear()


async def deliver_all(desk: Desk, run: JobRun, cutoff: str, rows: list[SourceRow]) -> Delivered:
    """Deliver every row, ``effect.concurrency`` at once; never raises for a row. Order within the lists is arrival."""
    assert desk.plan.effect is not None
    turn = _Round(desk, run, cutoff, rows)
    lanes = min(desk.plan.effect.concurrency, len(rows))
    if lanes <= 1:
        await turn.lane()
    else:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(lanes):
                    group.create_task(turn.lane())
        except ExceptionGroup as several:  # the class of an error decides what happens
            raise several.exceptions[0] from several
    return turn.conclude()
