"""A queue as a few plain lists: what an implementation is compared with.

It is written to be read beside the docstrings of QueueService, not to be fast, and it shares nothing with any
implementation but the words. Where several jobs are equally good (retries of one moment, rows replayed together) it does
not decide which of them a claim hands out: it checks that the order was allowed, and follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from kubesweep.queue.model import (
    AHEAD,
    BEHIND,
    FLOOD,
    HISTORY,
    LONGEST_LEASE,
    MAX_JOB_KEYS,
    RETRY_PAUSE,
    Claim,
    Claims,
    FailedRow,
    Job,
    JobKind,
    Key,
    Limits,
    OpenResult,
    PlanVersion,
    Settlement,
    SweepRequest,
    SweepState,
    Window,
)
from tests.contract.helpers import REF

Rank = tuple[int, float]

OUTCOMES = ("applied", "skipped", "unconfirmed", "retrying", "dead")


@dataclass
class Entry:
    job: Job
    ready: float
    queued: int = 0  # its place among the waiting ones
    delayed: bool = False
    deliveries: int = 0
    owner: Claim | None = None
    lease: float = 0.0

    @property
    def planned(self) -> bool:
        return bool(self.job.sweep) and not self.job.is_retry


@dataclass
class Book:
    id: str
    tick: float
    plan: PlanVersion
    state: SweepState = SweepState.PLANNING
    cutoff: str | None = None
    finished: float | None = None
    planned: int = 0
    applied: int = 0
    skipped: int = 0
    unconfirmed: int = 0
    retrying: int = 0
    dead: int = 0
    deaths: dict[str, int] = field(default_factory=dict)
    bad: str = ""  # why it is to be Halted or Failed at its end

    @property
    def settled_rows(self) -> int:
        return sum(getattr(self, name) for name in OUTCOMES)


@dataclass
class Letter:
    error: str
    sweep: str
    at: float


class Model:
    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.forget()

    def forget(self) -> None:
        self.known = False
        self.paused = False
        self.last_tick: float | None = None
        self.ticks = dict.fromkeys(OpenResult, 0)
        self.sweeps: list[Book] = []  # newest first
        self.entries: list[Entry] = []
        self.attempts: dict[Key, list[str]] = {}  # of every held row
        self.letters: dict[Key, Letter] = {}
        self.checked: set[str] = set()
        self.tokens: float | None = None
        self.rate: float | None = None
        self.tokens_at = 0.0
        self.places = 0

    # What can be seen

    def book(self, sweep: str) -> Book | None:
        return next((book for book in self.sweeps if book.id == sweep), None)

    def open_book(self, sweep: str) -> Book | None:
        book = self.book(sweep)
        return book if book is not None and not book.state.settled else None

    def open_entries(self, sweep: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.planned and entry.job.sweep == sweep]

    def retrying(self) -> list[Key]:
        return [key for entry in self.entries if entry.job.is_retry for key in entry.job.keys]

    def oldest_ready(self) -> float | None:
        """Of the retries that are due, and of the first in line: where the clock was set back, others may seem older."""
        idle = [entry for entry in self.entries if entry.owner is None]
        line = [entry for entry in idle if not entry.delayed]
        due = [entry.ready for entry in idle if entry.delayed and entry.ready <= self.clock()]
        first = min(line, key=lambda entry: entry.queued, default=None)
        return min([*due, *([] if first is None else [first.ready])], default=None)

    def entry_of(self, claim: Claim) -> Entry | None:
        fence = (claim.id, claim.consumer, claim.delivery)
        for entry in self.entries:
            if entry.owner is not None and (entry.owner.id, entry.owner.consumer, entry.owner.delivery) == fence:
                return entry
        return None

    # Moves

    def open_sweep(self, request: SweepRequest) -> OpenResult:
        self.known = True
        for key in [key for key, letter in self.letters.items() if letter.at < self.clock() - request.retention]:
            del self.letters[key], self.attempts[key]
        answer = self._answer(request)
        self.ticks[answer] += 1
        if answer is not OpenResult.DUPLICATE:
            self.last_tick = self._tick(request)
        return answer

    def _tick(self, request: SweepRequest) -> float:
        tick, last = self.clock() if request.tick is None else request.tick, self._last_tick()
        if tick > self.clock() + AHEAD:
            tick = self.clock()
        return tick if request.dedup_key is None or last is None or tick > last else last + BEHIND

    def _last_tick(self) -> float | None:
        return None if self.last_tick is None or self.last_tick > self.clock() + AHEAD else self.last_tick

    def _answer(self, request: SweepRequest) -> OpenResult:
        latest = self.sweeps[0] if self.sweeps else None
        if request.dedup_key is not None and self.book(request.sweep_id(REF)) is not None:
            return OpenResult.DUPLICATE
        tick, last = self._tick(request), self._last_tick()
        if last is not None and tick <= last:
            return OpenResult.DUPLICATE
        if request.deadline is not None and tick + request.deadline < self.clock():
            return OpenResult.LATE
        if latest is not None and not latest.state.settled and not request.plan.newer_than(latest.plan):
            return OpenResult.FORBIDDEN
        return OpenResult.ENQUEUED

    def opened(self, sweep: str, request: SweepRequest) -> None:
        if self.sweeps and not self.sweeps[0].state.settled:
            self._end(self.sweeps[0], SweepState.SUPERSEDED)
        assert self.last_tick is not None
        if self.sweeps and not self.sweeps[0].plan.same(request.plan):
            self._free_retries(request.plan)
        self.sweeps = [Book(sweep, self.last_tick, request.plan), *self.sweeps][: HISTORY + 1]
        until = self._leased_until()
        first = Job(JobKind.PLAN, request.plan, sweep)
        if until is None:
            self._enqueue(first)
        else:
            self.entries.append(Entry(first, until, delayed=True))

    def _free_retries(self, plan: PlanVersion) -> None:
        idle = [entry for entry in self.entries if entry.owner is None and entry.job.is_retry]
        for entry in [each for each in idle if each.job.plan is not None and not each.job.plan.same(plan)]:
            self.entries.remove(entry)
            for key in entry.job.keys:
                del self.attempts[key]
            if (book := self.book(entry.job.sweep)) is not None:
                book.retrying -= len(entry.job.keys)
                book.skipped += len(entry.job.keys)

    def _leased_until(self) -> float | None:
        """When the last lease on a planned job of an ended sweep ends."""
        ended = [entry for entry in self.entries if entry.planned and self.open_book(entry.job.sweep) is None]
        leases = [entry.lease for entry in ended if entry.owner is not None and entry.lease > self.clock()]
        return max(leases, default=None)

    def _admit(self) -> None:
        for entry in self.entries:
            if entry.planned and entry.delayed:
                entry.ready = self._leased_until() or min(entry.ready, self.clock())

    def enqueue_check(self, plan: PlanVersion, again: bool) -> bool:
        self.known = True
        checks = [entry.job.plan for entry in self.entries if entry.job.kind is JobKind.CHECK]
        waits = any(each is not None and each.same(plan) for each in checks)
        if plan.hash in self.checked and (waits or not again):
            return False
        self.checked.add(plan.hash)
        self._enqueue(Job(JobKind.CHECK, plan))
        return True

    def budget(self, rate: float) -> float:
        if self.tokens is None:
            return rate
        if self.clock() < self.tokens_at:
            return min(rate, max(0.0, self.tokens))
        return min(rate, self.tokens + (self.clock() - self.tokens_at) * rate)

    def claim(self, want: int, limits: Limits, answer: Claims) -> None:
        """Check that the answer of a claim was allowed, and hand out the same jobs."""
        assert answer.lost is not self.known
        if not self.known:
            assert not answer.jobs
            return
        assert answer.paused is self.paused
        rate = limits.rows_per_second
        credit = None if rate is None else self.budget(rate)
        debt = credit is not None and credit < 0
        assert (answer.budget is None) is (credit is None)
        assert answer.budget is None or answer.budget.time == self.clock()
        assert (answer.wait is not None) is debt
        if self.paused or debt or want <= 0:
            assert answer.jobs == ()
        else:
            self._cap_leases(limits.lease)
            self._drop_expired()
            self._admit()
            due = self._due()
            assert len(answer.jobs) == min(want, len(due)) or credit is not None
            ranks = [self._hand_out(claim, limits.lease, due) for claim in answer.jobs]
            assert ranks == sorted(ranks)
            assert all(rank >= ranks[-1] for rank, _ in due if ranks), "a job went before one that waits longer"
            if rate is not None and credit is not None:
                self._debit(answer, want, len(due), rate, credit)
        delayed = [entry.ready for entry in self.entries if entry.delayed]
        assert answer.next_delayed == min(delayed, default=None)
        assert answer.next_in == (None if answer.next_delayed is None else answer.next_delayed - self.clock())

    def _cap_leases(self, lease: float) -> None:
        for entry in self.entries:
            if entry.owner is not None and entry.lease > self.clock() + LONGEST_LEASE * lease:
                entry.lease = self.clock() + lease

    def _debit(self, answer: Claims, want: int, left: int, rate: float, credit: float) -> None:
        """Jobs were handed out until one of them led into debt."""
        before = credit - sum(claim.job.rows for claim in answer.jobs[:-1])
        assert before >= 0
        after = before - sum(claim.job.rows for claim in answer.jobs[-1:])
        assert after < 0 or len(answer.jobs) == want or left == 0
        self.tokens, self.tokens_at, self.rate = after, self.clock(), rate

    def refund(self, rows: int, rate: float | None) -> None:
        if rate is not None and rows:
            self.tokens, self.tokens_at, self.rate = min(rate, self.budget(rate) + rows), self.clock(), rate

    def _drop_expired(self) -> None:
        self.entries = [
            entry
            for entry in self.entries
            if not (self._expired(entry) and entry.planned and self.open_book(entry.job.sweep) is None)
        ]

    def _expired(self, entry: Entry) -> bool:
        return entry.owner is not None and entry.lease <= self.clock()

    def _due(self) -> list[tuple[Rank, Entry]]:
        """All that a claim may hand out: expired leases, then due retries, then what waits, each oldest first."""
        expired = [((0, entry.lease), entry) for entry in self.entries if self._expired(entry)]
        idle = [entry for entry in self.entries if entry.owner is None]
        retries = [((1, entry.ready), entry) for entry in idle if entry.delayed and entry.ready <= self.clock()]
        return expired + retries + [((2, entry.queued), entry) for entry in idle if not entry.delayed]

    def _hand_out(self, claim: Claim, lease: float, due: list[tuple[Rank, Entry]]) -> Rank:
        for at, (rank, entry) in enumerate(due):
            if entry.job == claim.job and entry.deliveries + 1 == claim.delivery:
                entry.deliveries, entry.delayed = claim.delivery, False
                entry.owner, entry.lease = claim, self.clock() + lease
                del due[at]
                return rank
        raise AssertionError(f"nobody should get {claim}")

    def extend(self, claims: Sequence[Claim], lease: float) -> set[str]:
        return self._each(claims, lambda entry, claim: setattr(entry, "lease", self.clock() + lease))

    def release(self, claims: Sequence[Claim]) -> set[str]:
        refund = sum(claim.refund for claim in claims if self.entry_of(claim) is not None)
        lost = self._each(claims, self._give_back)
        self._admit()
        self.refund(refund, self.rate)
        return lost

    def _give_back(self, entry: Entry, claim: Claim) -> None:
        if entry.planned and self.open_book(entry.job.sweep) is None:
            self.entries.remove(entry)
        else:
            entry.job, entry.owner, entry.ready = claim.job, None, self.clock()
            entry.deliveries -= 1
            entry.queued = self._next_place()

    def _each(self, claims: Sequence[Claim], move: Callable[[Entry, Claim], None]) -> set[str]:
        lost = set()
        for claim in claims:
            entry = self.entry_of(claim)
            if entry is None:
                lost.add(claim.id)
            else:
                move(entry, claim)
        return lost

    def advance(self, claim: Claim, window: Window) -> bool:
        entry = self.entry_of(claim)
        if entry is None:
            return False
        self.entries.remove(entry)
        book = self.open_book(entry.job.sweep)
        if book is None:
            self._admit()
            return False
        for job in window.entries:
            self._enqueue(job)
        book.planned += window.planned
        book.cutoff = window.cutoff
        if window.next is None:
            book.state = SweepState.RUNNING
        self._finish(book)
        return True

    def end_sweep(self, claim: Claim, state: SweepState) -> bool:
        entry = self.entry_of(claim)
        if entry is None:
            return False
        if entry.job.is_retry:
            entry.owner, entry.ready, entry.delayed = None, self.clock() + RETRY_PAUSE, True
            entry.deliveries -= 1
        else:
            self.entries.remove(entry)
        book = self.open_book(entry.job.sweep)
        if book is None:
            self._admit()
            return False
        if state is SweepState.AWAITING_APPROVAL:
            book.cutoff = book.cutoff or claim.job.cutoff
            book.planned -= sum(entry.job.rows for entry in self.open_entries(book.id) if entry.owner is None)
        self._end(book, state)
        return True

    def approve(self) -> str | None:
        if not self.sweeps or self.sweeps[0].state is not SweepState.AWAITING_APPROVAL:
            return None
        book = self.sweeps[0]
        book.state = SweepState.PLANNING
        self._enqueue(Job(JobKind.PLAN, book.plan, book.id, cutoff=book.cutoff, planned=book.planned))
        return book.id

    def settle(self, settlements: Sequence[Settlement], limits: Limits) -> tuple[set[str], set[str], set[str]]:
        """The ids that are lost, and the sweeps that are finished and halted."""
        lost, failing, touched, unused = set(), set(), [], 0
        self.overflowing: set[str] = set()
        for s in settlements:
            entry = self.entry_of(s.claim)
            if entry is None:
                lost.add(s.claim.id)
                continue
            if s.rest is not None and s.rest == entry.job != s.claim.job:
                entry.lease = self.clock() + limits.lease  # this part was counted before
                continue
            touched.append(entry.job.sweep)
            if s.retry or s.dead:
                failing.add(entry.job.sweep)
            book = self.open_book(entry.job.sweep)
            if s.sweep_failure is not None and book is not None and book.bad != "TooManyFailedRows":
                book.bad = s.sweep_failure[0]
            self._settle(entry, s, limits)
            unused += s.refund
        self.refund(unused, limits.rows_per_second)
        self._admit()
        halted, finished = set[str](), set[str]()
        for book in filter(None, map(self.book, touched)):
            if book.state.settled and book.state is not SweepState.COMPLETED:
                continue
            why = self._too_bad(book) if book.id in failing else ""
            if why and limits.halt_at_end and not book.state.settled:
                book.bad = why if why == "TooManyFailedRows" or book.bad in ("", "Flood") else book.bad
                why = ""
            if why:
                self._end(book, SweepState.HALTED)
                halted.add(book.id)
            elif self._finish(book):
                (finished if book.state is SweepState.COMPLETED else halted).add(book.id)
        return lost, finished, halted

    def _settle(self, entry: Entry, s: Settlement, limits: Limits) -> None:
        before = entry.job
        if before.plan is not None and self.sweeps and not before.plan.same(self.sweeps[0].plan):
            late = sum(len(group.rows) for group in s.retry)  # for the sweep of the newer plan to find
            s = msgspec.structs.replace(s, retry=(), skipped=s.skipped + late)
        if s.rest is None:
            self.entries.remove(entry)
        else:
            entry.job, entry.lease = s.rest, self.clock() + limits.lease
        for job in s.jobs:
            if job.is_retry or self.open_book(job.sweep) is not None:
                self._enqueue(job)
        skipped = s.skipped
        held = dead = 0
        for group in s.retry:
            rows = [row for row in group.rows if self._fail(row, before, None, limits)]
            held += len(rows)
            skipped += len(group.rows) - len(rows)
            if rows:
                keys = tuple(row.key for row in rows)
                again = Job(
                    JobKind.KEYS, before.plan, before.sweep, before.cutoff, keys=keys, rows=len(keys),
                    attempt=group.attempt, is_retry=True,
                )  # fmt: skip
                self.entries.append(Entry(again, self.clock() + group.delay, delayed=True))
        for row in s.dead:
            if self._fail(row, before, Letter(row.error, before.sweep, self.clock()), limits):
                dead += 1
            else:
                skipped += 1
        self._count(before, s, skipped, held, dead, limits)
        if before.is_retry:
            failed = {row.key for group in s.retry for row in group.rows} | {row.key for row in s.dead}
            stay = failed | {key for job in (*s.jobs, *filter(None, [s.rest])) for key in job.keys}
            for key in set(before.keys) - stay:
                del self.attempts[key]

    def _fail(self, row: FailedRow, job: Job, letter: Letter | None, limits: Limits) -> bool:
        if row.key in self.attempts and not (job.is_retry and row.key in job.keys):
            return False
        if row.key not in self.attempts and len(self.attempts) >= limits.halt_above:
            self.overflowing.add(job.sweep)
            return False
        self.attempts.setdefault(row.key, []).append(row.error)
        if letter is not None:
            self.letters[row.key] = letter
        return True

    def _count(self, job: Job, s: Settlement, skipped: int, held: int, dead: int, limits: Limits) -> None:
        book = self.book(job.sweep)
        if book is None:
            return
        book.applied += s.applied
        book.skipped += skipped
        book.unconfirmed += s.unconfirmed
        book.dead += dead
        for row in s.dead[:dead]:
            book.deaths[row.error] = book.deaths.get(row.error, 0) + 1
        if job.is_retry:
            book.retrying -= s.applied + skipped + s.unconfirmed + dead
        else:
            book.retrying += held
            book.planned += s.extra

    def _too_bad(self, book: Book) -> str:
        if book.id in self.overflowing and not book.state.settled:
            return "TooManyFailedRows"
        return "Flood" if max(book.deaths.values(), default=0) >= FLOOD and book.applied == 0 else ""

    def replay(self, keys: Sequence[Key] | None) -> int:
        chosen = [key for key in self.letters if keys is None or key in keys]
        place = self._next_place()
        for sweep in {self.letters[key].sweep for key in chosen}:
            part = [key for key in chosen if self.letters[key].sweep == sweep]
            assert len(part) <= MAX_JOB_KEYS
            book = self.book(sweep)
            if book is not None:
                book.dead -= len(part)
                book.retrying += len(part)
            self._enqueue(
                Job(JobKind.KEYS, None, sweep, keys=tuple(sorted(part)), rows=len(part), is_retry=True), place
            )
        for key in chosen:
            del self.letters[key]
        return len(chosen) + self._retry_now(keys, place)

    def _retry_now(self, keys: Sequence[Key] | None, place: int) -> int:
        count = 0
        for entry in [each for each in self._idle_retries() if each.delayed and each.ready > self.clock()]:
            taken = self._narrow(entry, keys, place)
            if taken:
                again = replace(entry.job, plan=None, cutoff=None, keys=taken, rows=len(taken), attempt=1)
                self._enqueue(again, place)
            count += len(taken)
        return count

    def purge(self, keys: Sequence[Key] | None) -> int:
        chosen = [key for key in self.letters if keys is None or key in keys]
        for key in chosen:
            del self.letters[key], self.attempts[key]
        count, place = len(chosen), self._next_place()
        for entry in self._idle_retries():
            taken = self._narrow(entry, keys, place)
            for key in taken:
                del self.attempts[key]
            if (book := self.book(entry.job.sweep)) is not None:
                book.retrying -= len(taken)
                book.skipped += len(taken)
            count += len(taken)
        return count

    def _idle_retries(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.job.is_retry and entry.owner is None]

    def _narrow(self, entry: Entry, keys: Sequence[Key] | None, place: int) -> tuple[Key, ...]:
        """Take rows out of a retry. What is left of one that waits in line goes behind the others."""
        taken = tuple(key for key in entry.job.keys if keys is None or key in keys)
        left = tuple(key for key in entry.job.keys if key not in taken)
        if taken:
            self.entries.remove(entry)
            if left:
                job = replace(entry.job, keys=left, rows=len(left))
                queued = entry.queued if entry.delayed else place
                self.entries.append(Entry(job, entry.ready, queued, entry.delayed, entry.deliveries))
        return taken

    def _enqueue(self, job: Job, place: int | None = None) -> None:
        self.entries.append(Entry(job, self.clock(), self._next_place() if place is None else place))

    def _next_place(self) -> int:
        self.places += 1
        return self.places

    def _end(self, book: Book, state: SweepState) -> None:
        book.state = state
        book.finished = None if state is SweepState.AWAITING_APPROVAL else self.clock()
        gone = [entry for entry in self.open_entries(book.id) if entry.owner is None]
        self.entries = [entry for entry in self.entries if entry not in gone]

    def _finish(self, book: Book) -> bool:
        if book.state not in (SweepState.PLANNING, SweepState.RUNNING) or self.open_entries(book.id):
            return False
        ends = {"TooManyFailedRows": SweepState.HALTED, "Flood": SweepState.HALTED, "": SweepState.COMPLETED}
        lapses = book.bad != "TooManyFailedRows" and book.applied > 0
        self._end(book, SweepState.COMPLETED if lapses else ends.get(book.bad, SweepState.FAILED))
        return True
