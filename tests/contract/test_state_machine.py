"""Workers that interleave, crash, come too late and repeat themselves, against the model, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kubesweep.queue.model import (
    END_STATES,
    Claim,
    FailedRow,
    Job,
    JobKind,
    Key,
    Limits,
    OpenResult,
    PlanVersion,
    Retry,
    Settlement,
    Sweep,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.service import QueueService
from tests.contract.backends import BACKENDS, Backend, Clock
from tests.contract.helpers import CUTOFF, OTHER, REF
from tests.contract.model import Book, Model
from tests.kits.servers import shared

T = TypeVar("T")

WORKERS = ("ann", "bob", "eve")
ERRORS = ("CheckViolation", "Rejected")
FATES = ("applied", "skipped", "unconfirmed", "retry", "dead", "rest", "half")
SHARED = tuple((f"shared{number}",) for number in range(3))  # rows that jobs of different sweeps meet

workers = st.sampled_from(WORKERS)
picks = st.integers(0, 10**6)


class QueueMachine(RuleBasedStateMachine):
    def __init__(self, backend: Backend, lengths: Callable[[], tuple[int, int]] = lambda: (0, 0)) -> None:
        """``lengths``: of what KEDA asks about the delayed retries, and of these."""
        super().__init__()
        self.lengths = lengths
        self.clock = Clock()
        self.model = Model(self.clock)
        self.runner = asyncio.Runner()
        self.stack = ExitStack()
        self.open = self.stack.enter_context(backend(self.clock))
        self.queues: dict[str, QueueService] = {who: self.open() for who in WORKERS}
        self.parts: list[Settlement] = []  # the last part that each claim settled
        self.other_tick = 0.0
        self.held: tuple[int, frozenset[Key]] | None = None
        self.hands: list[Claim] = []  # what somebody works on, or believes to
        self.finished: list[str] = []
        self.generation = 1
        self.serial = 0
        self.limits = Limits()

    def do(self, move: Awaitable[T]) -> T:
        async def run() -> T:
            return await move

        return self.runner.run(run())

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            for queue in self.queues.values():
                self.do(queue.close())
            self.runner.close()
            self.stack.close()

    def drain(self) -> None:
        """In the end everything that is waiting can be claimed, and each held row is in exactly one place."""
        if not self.model.known:
            return
        self.clock.advance(10**6)
        queue = self.queues["ann"]
        self.do(queue.pause(REF, False))
        claims = self.do(queue.claim(REF, "last", 10**6, Limits())).jobs
        retrying = [key for claim in claims if claim.job.is_retry for key in claim.job.keys]
        dead = [letter.key for letter in self.do(queue.dead_letters(REF, most=10**6))]
        assert sorted(retrying + dead) == sorted(self.do(queue.excluded(REF))[1])

    @initialize(rate=st.sampled_from([None, 4.0]), halt_above=st.sampled_from([4, 1000]), late=st.booleans())
    def settings_of_the_plan(self, rate: float | None, halt_above: int, late: bool) -> None:
        self.limits = Limits(rows_per_second=rate, halt_above=halt_above, halt_at_end=late)

    # The schedule's side

    @rule(who=workers, ahead=st.sampled_from([-60, 0, 60, 60, 60]), newer=st.sampled_from([False, False, True]),
          deadline=st.sampled_from([None, None, 30.0]), retention=st.sampled_from([100.0, 10**9]),
          once=st.sampled_from([None, None, "a", "b"]))  # fmt: skip
    def tick(
        self, who: str, ahead: int, newer: bool, deadline: float | None, retention: float, once: str | None
    ) -> None:
        self.generation += newer
        tick = (self.clock.now if self.model.last_tick is None else self.model.last_tick) + ahead
        request = SweepRequest(tick=tick, plan=self.plan, deadline=deadline, retention=retention, dedup_key=once)
        expected = self.model.open_sweep(request)
        opened = self.do(self.queues[who].open_sweep(REF, request))
        assert opened.answer is expected
        if expected is OpenResult.ENQUEUED:
            assert self.model.book(opened.sweep) is None
            self.model.opened(opened.sweep, request)
        elif expected is OpenResult.FORBIDDEN:
            assert opened.sweep == self.model.sweeps[0].id

    @rule(who=workers, again=st.booleans())
    def check(self, who: str, again: bool) -> None:
        expected = self.model.enqueue_check(self.plan, again)
        assert self.do(self.queues[who].enqueue_check(REF, self.plan, again=again)) is expected

    @rule(who=workers, paused=st.booleans())
    def pause(self, who: str, paused: bool) -> None:
        self.do(self.queues[who].pause(REF, paused))
        self.model.paused = paused and self.model.known

    @rule(who=workers)
    def approve(self, who: str) -> None:
        assert self.do(self.queues[who].approve(REF)) == self.model.approve()

    @precondition(lambda self: self.model.attempts)
    @rule(who=workers, every=st.booleans(), pick=picks, purge=st.booleans())
    def replay_or_purge(self, who: str, every: bool, pick: int, purge: bool) -> None:
        rows = sorted(self.model.attempts)
        keys = None if every else [rows[pick % len(rows)], rows[-1], ("nobody",)]
        if purge:
            assert self.do(self.queues[who].purge(REF, keys=keys)) == self.model.purge(keys)
        else:
            assert self.do(self.queues[who].replay(REF, keys=keys)) == self.model.replay(keys)

    # The world's side

    @rule(seconds=st.sampled_from([0.5, 7.0, 31.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -40.0, 4000.0]))
    def clock_jumps(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(who=workers, fate=st.sampled_from(["sweeps", "fails", "is forgotten"]))
    def another_schedule(self, who: str, fate: str) -> None:
        """Whatever happens to it shows in no book of the first."""
        queue = self.queues[who]
        self.other_tick = max(self.other_tick + 1, self.clock.now)
        opened = self.do(queue.open_sweep(OTHER, SweepRequest(tick=self.other_tick, plan=self.plan)))
        claims = self.do(queue.claim(OTHER, who, 5, Limits())).jobs
        if fate == "sweeps" and opened.answer is OpenResult.ENQUEUED:
            assert [claim.job.sweep for claim in claims] == [opened.sweep]
            assert self.do(queue.advance(OTHER, claims[0], Window(CUTOFF)))
        elif fate == "fails" and claims:
            state = SweepState.FAILED
            assert self.do(queue.end_sweep(OTHER, claims[0], state, "Reason", "a sentence"))
        else:
            self.do(queue.forget(OTHER))
            assert not self.do(queue.stats([OTHER]))[0].known

    @rule(who=workers)
    def process_restarts(self, who: str) -> None:
        self.do(self.queues[who].close())
        self.queues[who] = self.open()
        self.hands = [claim for claim in self.hands if claim.consumer != who]

    @precondition(lambda self: self.model.known)
    @rule(chance=st.integers(0, 9))
    def queue_loses_everything(self, chance: int) -> None:
        if chance == 0:
            self.do(self.queues["ann"].forget(REF))
            self.model.forget()
            self.finished.clear()  # the wish of before comes again under its old id

    # The workers' side

    @rule(who=workers, want=st.integers(0, 4), waits=st.booleans())
    def claim(self, who: str, want: int, waits: bool) -> None:
        queue = self.queues[who]
        answer = self.do(
            queue.claim_next(REF, who, want, self.limits, 0.0) if waits else queue.claim(REF, who, want, self.limits)
        )
        self.model.claim(want, self.limits, answer)
        self.hands.extend(answer.jobs)

    @precondition(lambda self: self.hands)
    @rule(pick=picks)
    def worker_forgets(self, pick: int) -> None:
        self.hands.pop(pick % len(self.hands))

    @precondition(lambda self: self.hands)
    @rule(pick=picks, lease=st.sampled_from([1.0, 30.0]))
    def extend(self, pick: int, lease: float) -> None:
        claim = self.pick(pick)
        lost = self.do(self.queues[claim.consumer].extend(REF, [claim], lease))
        assert set(lost) == self.model.extend([claim], lease)

    @precondition(lambda self: self.hands)
    @rule(pick=picks, maybe=st.booleans())
    def release(self, pick: int, maybe: bool) -> None:
        claim = self.pick(pick)
        claim = msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, may_have_committed=maybe))
        lost = self.do(self.queues[claim.consumer].release(REF, [claim]))
        assert set(lost) == self.model.release([claim])

    @precondition(lambda self: any(claim.job.kind is JobKind.PLAN for claim in self.hands))
    @rule(pick=picks, sizes=st.lists(st.sampled_from([1, 2, 3, 55]), max_size=3), last=st.booleans(),
          shared=st.booleans())  # fmt: skip
    def advance(self, pick: int, sizes: list[int], last: bool, shared: bool) -> None:
        plans = [claim for claim in self.hands if claim.job.kind is JobKind.PLAN]
        claim = plans[pick % len(plans)]
        sweep, plan = claim.job.sweep, claim.job.plan
        jobs = [Job(JobKind.KEYS, plan, sweep, CUTOFF, keys=self.fresh(size), rows=size) for size in sizes]
        if shared:
            jobs.append(Job(JobKind.KEYS, plan, sweep, CUTOFF, low=self.fresh(1)[0], keys=SHARED, rows=len(SHARED)))
        rows = sum(job.rows for job in jobs)
        next_ = None if last else Job(JobKind.PLAN, plan, sweep, CUTOFF, low=self.fresh(1)[0])
        window = Window(CUTOFF, tuple(jobs), next_, planned=rows)
        assert self.do(self.queues[claim.consumer].advance(REF, claim, window)) is self.model.advance(claim, window)
        book = self.model.book(sweep)
        if book is not None and book.state is SweepState.COMPLETED and sweep not in self.finished:
            self.finished.append(sweep)

    @precondition(lambda self: self.hands)
    @rule(pick=picks, state=st.sampled_from(sorted(END_STATES)), chance=st.integers(0, 2))
    def end_sweep(self, pick: int, state: SweepState, chance: int) -> None:
        claim = self.pick(pick)
        if claim.job.kind is JobKind.PLAN or (
            chance == 0 and state is not SweepState.AWAITING_APPROVAL
        ):  # only a plan job holds
            ended = self.do(self.queues[claim.consumer].end_sweep(REF, claim, state, "Reason", "a sentence"))
            assert ended is self.model.end_sweep(claim, state)

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), count=st.integers(1, 3), want=st.integers(0, 3))
    def settle(self, data: st.DataObject, count: int, want: int) -> None:
        who = self.pick(data.draw(picks)).consumer
        mine = [claim for claim in self.hands if claim.consumer == who and claim.job.kind is not JobKind.PLAN]
        settlements = [self.outcome(data, claim) for claim in mine[:count]]
        lost, finished, halted = self.model.settle(settlements, self.limits)
        settled = self.do(self.queues[who].settle(REF, who, settlements, want, self.limits))
        assert (set(settled.lost), set(settled.finished), set(settled.halted)) == (lost, finished, halted)
        self.finished = [sweep for sweep in self.finished if sweep not in halted] + list(settled.finished)
        self.model.claim(want, self.limits, settled.claims)
        for s in settlements:
            if s.rest is not None and s.claim.id not in lost:
                self.parts = [part for part in self.parts if part.claim.id != s.claim.id] + [s]
                self.hands.remove(s.claim)
                self.hands.append(msgspec.structs.replace(s.claim, job=s.rest))
        self.hands.extend(settled.claims.jobs)

    @precondition(lambda self: self.parts)
    @rule(pick=picks)
    def settle_a_part_again(self, pick: int) -> None:
        """Its answer was lost: it is counted once, whatever happened to the job meanwhile."""
        part = self.parts[pick % len(self.parts)]
        who = part.claim.consumer
        expected = self.model.settle([part], self.limits)
        settled = self.do(self.queues[who].settle(REF, who, [part], 0, self.limits))
        assert (set(settled.lost), set(settled.finished), set(settled.halted)) == expected

    def outcome(self, data: st.DataObject, claim: Claim) -> Settlement:
        """Any fate for each row; the claim stays in the hands, so that it will be settled again, too late."""
        rows = claim.job.keys
        fates = data.draw(st.lists(st.sampled_from(FATES), min_size=1, max_size=4))
        where: dict[str, list[Key]] = {fate: [] for fate in FATES}
        for at, row in enumerate(rows):
            where[fates[at % len(fates)]].append(row)
        error = data.draw(st.sampled_from(ERRORS))
        extra = 0 if claim.job.is_retry or not rows else data.draw(st.integers(0, 2))
        retry = tuple(FailedRow(row, error, "refused") for row in where["retry"])
        return Settlement(
            claim,
            applied=len(where["applied"]) + extra,
            skipped=len(where["skipped"]),
            unconfirmed=len(where["unconfirmed"]),
            extra=extra,
            retry=(Retry(retry, claim.job.attempt + 1, data.draw(st.sampled_from([5.0, 40.0]))),) if retry else (),
            dead=tuple(FailedRow(row, error, "refused") for row in where["dead"]),
            jobs=(self.part(claim.job, where["half"]),) if where["half"] else (),
            rest=self.part(claim.job, where["rest"]) if where["rest"] else None,
            sweep_failure=data.draw(st.sampled_from([None, None, None, ("WriteRefused", "none was written")])),
        )

    def part(self, job: Job, keys: list[Key]) -> Job:
        low = None if job.is_retry else self.fresh(1)[0]  # tells apart jobs of the shared rows
        return msgspec.structs.replace(job, keys=tuple(keys), rows=len(keys), low=low)

    def pick(self, number: int) -> Claim:
        return self.hands[number % len(self.hands)]

    def fresh(self, count: int) -> tuple[Key, ...]:
        self.serial += count
        return tuple((f"{number:06d}",) for number in range(self.serial - count, self.serial))

    @property
    def plan(self) -> PlanVersion:
        return PlanVersion(self.generation, f"hash{self.generation}")

    # After every step

    @invariant()
    def the_implementation_says_what_the_model_says(self) -> None:
        model, now = self.model, self.clock.now
        (stats,) = self.do(self.queues["bob"].stats([REF]))
        idle = [entry for entry in model.entries if entry.owner is None]
        ready = [entry.ready for entry in idle if not entry.delayed or entry.ready <= now]
        assert (stats.known, stats.paused, stats.last_tick) == (model.known, model.paused, model.last_tick)
        assert (stats.ready, stats.delayed) == (len(ready), len(idle) - len(ready))
        assert (stats.running, stats.oldest_ready) == (len(model.entries) - len(idle), model.oldest_ready())
        assert (stats.excluded, stats.dead) == (len(model.attempts), len(model.letters))
        assert {answer: getattr(stats.ticks, answer) for answer in OpenResult} == model.ticks
        sweeps = stats.history if stats.sweep is None else (stats.sweep, *stats.history)
        assert [self.shown(sweep) for sweep in sweeps] == [self.expected(book) for book in model.sweeps]
        held = self.do(self.queues["eve"].excluded(REF))
        assert held.keys == set(model.attempts)
        if self.held is not None and self.held[0] == held.version:
            assert self.held[1] == held.keys, "workers keep a held set for as long as its version is the same"
        self.held = held[:2] if model.known else None
        letters = self.do(self.queues["ann"].dead_letters(REF, most=10**6))
        found = {x.key: (x.error, x.sweep, x.at, [attempt.error for attempt in x.attempts]) for x in letters}
        assert found == {key: (x.error, x.sweep, x.at, model.attempts[key][-20:]) for key, x in model.letters.items()}

    def shown(self, sweep: Sweep) -> tuple[Any, ...]:
        counts = (sweep.planned, sweep.applied, sweep.skipped, sweep.unconfirmed, sweep.retrying, sweep.dead)
        return (sweep.id, sweep.tick, sweep.plan, sweep.state, sweep.cutoff, sweep.finished, sweep.open_jobs, *counts)

    def expected(self, book: Book) -> tuple[Any, ...]:
        counts = (book.planned, book.applied, book.skipped, book.unconfirmed, book.retrying, book.dead)
        left = len(self.model.open_entries(book.id))
        return (book.id, book.tick, book.plan, book.state, book.cutoff, book.finished, left, *counts)

    @invariant()
    def the_books_balance(self) -> None:
        ended_early = {SweepState.FAILED, SweepState.HALTED, SweepState.SUPERSEDED}
        for book in self.model.sweeps:
            if book.state not in ended_early:
                left = sum(entry.job.rows for entry in self.model.open_entries(book.id))
                assert book.planned == book.settled_rows + left
            assert (book.state is SweepState.COMPLETED) is (book.id in self.finished)
        assert len(self.finished) == len(set(self.finished))

    @invariant()
    def keda_hears_of_delayed_retries_as_long_as_there_are_any(self) -> None:
        marker, delayed = self.lengths()
        assert marker == min(1, delayed)

    @invariant()
    def each_held_row_is_in_one_place(self) -> None:
        assert sorted(self.model.retrying() + list(self.model.letters)) == sorted(self.model.attempts)


def lengths_on(name: str) -> Callable[[], tuple[int, int]]:
    """On a server; a file has no marker."""
    if name == "sqlite":
        return lambda: (0, 0)
    server = shared(name.partition("-")[0])

    def lengths() -> tuple[int, int]:
        with server.client() as client:
            return client.xlen(f"{REF.prefix}:marker"), client.zcard(f"{REF.prefix}:delayed")

    return lengths


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_any_interleaving_of_workers_does_what_the_model_does(name: str) -> None:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        lambda: QueueMachine(BACKENDS[name], lengths_on(name)),  # type: ignore[arg-type]  # it asks for a class and calls it
        settings=settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=slow),
    )
