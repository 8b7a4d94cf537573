"""The loop: settle what is finished and claim what fits, in one trip; then sleep until something happens.

Invariants: at most ``concurrency`` jobs run; a job that must run alone has the worker to itself; at most one claim is under
way, be it one that waits; nothing is polled at a fixed rate: a finished job, the queue's ``claim_next``, an opened gate and
a stop each wake the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import msgspec

from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.model import Budget, Claim, Claims, Settlement
from kubesweep_worker.flow_control.circuit_breaker import State
from kubesweep_worker.in_flight import Hands, JobRun
from kubesweep_worker.jobs.context import Desk, Done, Gone, Result, Return
from kubesweep_worker.jobs.dispatch import run_job
from kubesweep_worker.jobs.redelivery import Care, acquitted, care
from kubesweep_worker.runtime.connectivity import Contact

log = logging.getLogger("kubesweep.worker")
PAUSED = 1.0  # a paused queue is asked this often at most
TRIP = 16  # jobs that one claim may always ask for; many slots are filled by halves: one half works, one is fetched
FRUITLESS = 3  # waits in a row that promised something and gave nothing: from then on a growing pause


class Loop:
    def __init__(self, desk: Desk, hands: Hands) -> None:
        self.desk, self.hands, self.settings = desk, hands, desk.settings
        self.stopping = False
        self.seen = Claims()
        self.wake = asyncio.Event()
        self._most = max(TRIP, self.settings.concurrency // 2)
        self._settle: dict[str, Settlement] = {}
        self._back: dict[str, Claim] = {}
        self._alone = False  # a job waits that wants the worker for itself
        self._strikes = 0
        self._contact = Contact(self.settings)
        self._not_before = 0.0
        self._fruitless = 0
        self._waiter: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[None] | None = None
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0
        self._ailment = (
            ""  # what a probe found last: a probe that succeeds proves the cure of that, and of nothing else
        )

    @property
    def empty(self) -> bool:
        return not self.hands.all() and not self._settle and not self._back

    async def turn(self) -> None:
        """One round. Raises nothing: an outage of the queue is remembered and tried again later."""
        self.wake.clear()
        now = self.settings.monotonic()
        self._open_gate(now)
        if now < self._not_before and self._strikes:
            return self._wake_in(self._not_before - now)
        try:
            await self._exchange(now)
        except Outage as outage:
            self._contact.lost()
            self._strikes += 1
            pause = self.desk.pause(self._strikes, outage)
            if self._strikes == 1:
                log.warning("the queue is away: %s", outage, extra={"reason": outage.reason})
            self._not_before = now + pause
            self._wake_in(pause)
            return None
        if self._strikes:
            log.info("the queue is back")
            self._strikes = 0
        if (quiet := max(self._not_before, self.desk.quiet_until) - now) > 0 and not self.stopping:
            self._wake_in(quiet)
        return None

    async def _exchange(self, now: float) -> None:
        desk = self.desk
        if self._back:
            back = dict(self._back)
            await desk.queue.release(desk.ref, tuple(back.values()))
            for claim_id in back:
                self._back.pop(claim_id, None)
                self.hands.drop(claim_id)
        want, settle = 0 if self._waits() else self._want(now), dict(self._settle)
        if settle:
            done = tuple(settle.values())
            answer = await desk.queue.settle(desk.ref, desk.consumer, done, want, self._contact.limits(desk.limits))
            self._contact.answered()
            for claim_id in settle:
                self._settle.pop(claim_id, None)
                self.hands.drop(claim_id)
            self._tell(answer.lost, answer.finished, answer.halted)
            claims = answer.claims
        elif want:
            claims = await desk.queue.claim(desk.ref, desk.consumer, want, self._contact.limits(desk.limits))
            self._contact.answered()
        else:
            return
        if want:
            self._receive(claims, want, now, now)

    def _tell(self, lost: tuple[str, ...], finished: tuple[str, ...], halted: tuple[str, ...]) -> None:
        if lost:
            log.warning("settled too late, nothing was counted", extra={"jobs": list(lost)})
        for sweep in finished:
            log.info("sweep finished", extra={"sweep": sweep})
        for sweep in halted:
            log.error(
                "sweep halted or failed: too many rows fail; see `kubesweep status` and `kubesweep dead list`",
                extra={"sweep": sweep},
            )

    def _want(self, now: float) -> int:
        running = self.hands.running()
        if self.stopping or now < max(self._not_before, self.desk.quiet_until) or any(run.alone for run in running):
            return 0
        if self._alone:
            return 0 if running else self.desk.gate.allows(1, 0)
        free = max(0, self.settings.concurrency - len(running))
        return self.desk.gate.allows(min(free, self._most), len(running))

    def _receive(self, claims: Claims, want: int, now: float, asked: float) -> None:
        self.seen = claims
        self.desk.saw_held_version(claims.excluded_version)
        self.desk.batch.hear(claims.batch_hint)
        self._alone = False
        self._start_all(claims, self._want(now), asked)
        if len(claims.jobs) >= want:
            self._fruitless = 0
            if len(self.hands.running()) < self.settings.concurrency:
                self.wake.set()
            return
        if claims.wait is not None:
            pause = min(PAUSED, max(0.01, claims.wait))  # what another worker does not try ends a debt sooner
            self._not_before = now + pause
            self._wake_in(pause)
        elif claims.paused:
            self._not_before = now + PAUSED
            self._wake_in(PAUSED)
        else:
            self._wait_for_more(claims, now)

    def _start_all(self, claims: Claims, most: int, asked: float) -> None:
        """``most``: how many may start by now. Since they were ``asked`` for the gate may have shut, or a stop have come."""
        running = self.hands.running()
        busy, lone = bool(running), any(run.alone for run in running)
        mine = {run.claim.id: run for run in self.hands.all()}
        used = 0
        for claim in claims.jobs:
            before, used = used, used + claim.job.rows
            if (run := mine.get(claim.id)) is not None:
                # This process slept longer than a lease (a laptop's lid): the job is in hand, and goes on under the new fence.
                run.claim = msgspec.structs.replace(claim, job=run.claim.job)
                continue
            alone = care(claim) is not Care.NORMAL
            if lone or (alone and busy):
                # Kept waiting in hand it would be counted as a crash of its own if the job before it kills the worker.
                self._alone = self._alone or alone
                self._return(claim)
            elif most <= 0:
                self._return(claim)
            else:
                busy, lone, most = True, alone, most - 1
                run = JobRun(claim, self.settings.monotonic, alone=alone)
                if self.desk.pace is not None:
                    self.desk.pace.take(run, claims.budget or Budget(), before, asked)
                self._start(run)

    def _return(self, claim: Claim) -> None:
        self._back[claim.id] = claim
        self.wake.set()

    def _start(self, run: JobRun) -> None:
        self.hands.take(run)
        run.task = asyncio.create_task(self._work(run), name=f"kubesweep-{run.claim.id}")
        run.task.add_done_callback(lambda _: self._ended(run))

    def _ended(self, run: JobRun) -> None:
        """A task that a stop cancels before its first step runs nothing, not even a ``finally``."""
        if not run.finished:
            run.finished = True
            self._collect(run, Return(run.claim))
            self.wake.set()

    async def _work(self, run: JobRun) -> None:
        result: Result = Return(run.claim)
        try:
            result = await run_job(self.desk, run)
        except asyncio.CancelledError:
            result = Return(run.claim)
        finally:
            run.finished = True
            self._collect(run, result)
            self.wake.set()

    def _collect(self, run: JobRun, result: Result) -> None:
        claim_id, pace = run.claim.id, self.desk.pace
        match result:
            case Done(settlement, worked) if not run.lost:
                self._settle[claim_id] = pace.settled(run, settlement) if pace is not None else settlement
                if worked:
                    self._worked()
            case Return(claim) if not run.lost:
                if run.begun:
                    claim = acquitted(claim)
                self._back[claim_id] = pace.returned(run, claim) if pace is not None else claim
            case _:
                self.hands.drop(claim_id)
                if pace is not None:
                    pace.lost(run)
                if isinstance(result, Gone) and result.worked:
                    self._worked()

    def _worked(self) -> None:
        if self.desk.gate.worked():
            log.info("the world is well again: claiming goes on")

    def _waits(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _wait_for_more(self, claims: Claims, now: float) -> None:
        """Claim again as soon as the queue has something, or the next retry is due."""
        want = self._want(now)
        if not want or self._back:
            return
        timeout = self.settings.idle_wait
        if claims.next_in is not None:
            timeout = min(timeout, max(0.0, claims.next_in))
        if now < self._contact.spare_until:
            timeout = min(timeout, self._contact.spare_until - now)
        self._fruitless = 0 if claims.jobs else self._fruitless + 1
        pause = min(0.1, 0.01 * 2.0 ** (self._fruitless - FRUITLESS)) if self._fruitless > FRUITLESS else 0.0
        self._waiter = self._side(self._claim_next(want, timeout, pause))

    async def _claim_next(self, want: int, timeout: float, pause: float) -> None:
        desk, began = self.desk, self.settings.monotonic()
        limits = self._contact.limits(desk.limits)
        try:
            claims = await desk.queue.claim_next(desk.ref, desk.consumer, want, limits, timeout)
        except Outage as outage:
            self._contact.lost()
            await self.settings.sleep(desk.pause(1, outage))
            return
        self._contact.answered()
        now = self.settings.monotonic()
        if now - began > 1.0:
            self._fruitless = 0
        elif pause and not claims.jobs:
            await self.settings.sleep(pause)
        self._waiter = None
        if claims.jobs or not limits.spare_expired:  # else the next turn claims: what was spared may be free by now
            self._receive(claims, want, now, began)

    async def withdraw(self) -> None:
        """Wait for nothing any more. What a claim brings on its way back is given back."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.cancel()
            await asyncio.wait({self._waiter})

    def _open_gate(self, now: float) -> None:
        gate = self.desk.gate
        if gate.state is State.SHUT and not self.stopping:
            if not gate.due(now):
                self._wake_in(gate.until - now)
            elif self._probe is None or self._probe.done():
                self._probe = self._side(self._ask())

    async def _ask(self) -> None:
        """Ask the database; one job may try where it answers."""
        try:
            await self.desk.source.probe()
        except (Outage, SweepFailure) as trouble:
            self._ailment = trouble.reason
            await self.desk.report("SourceReady", False, trouble.reason, str(trouble))
            self.desk.gate.ajar()
            self.desk.shut(trouble if isinstance(trouble, Outage) else Outage(trouble.reason, str(trouble)))
        else:
            self.desk.gate.ajar()
            await self.desk.well("SourceReady", cured=self._ailment)

    def _wake_in(self, seconds: float) -> None:
        at = self.settings.monotonic() + seconds
        if self._alarm is not None and not self._alarm.done():
            if self._alarm_at <= at:
                return
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._side(self._sleep(seconds))

    async def _sleep(self, seconds: float) -> None:
        await self.settings.sleep(max(0.0, seconds))

    def _side(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self.wake.set())
        return task

    async def close(self) -> None:
        for task in (self._waiter, self._probe, self._alarm):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait({task})
