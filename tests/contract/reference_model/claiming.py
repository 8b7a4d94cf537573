"""Claiming, extending and releasing jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubesweep.queue.model import (
    LONGEST_LEASE,
    Claim,
    Claims,
    Limits,
)
from tests.contract.reference_model.state import Entry, State

Rank = tuple[int, float]


class Claiming(State):
    def claim(self, want: int, limits: Limits, answer: Claims) -> None:
        """Check that the answer of a claim was allowed, and claim the same jobs."""
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
            assert (answer.jobs, answer.waits) == ((), ())
        else:
            self._cap_leases(limits.lease)
            self._drop_expired()
            self._block_expired()
            self._admit()
            due = self._due()
            assert len(answer.jobs) == min(want, len(due)) or credit is not None
            waits = [seconds for jobs, seconds in answer.waits for _ in range(jobs)]
            assert all(seconds >= 0 for seconds in waits)
            ranks = [
                self._assign(claim, limits.lease, due, wait) for claim, wait in zip(answer.jobs, waits, strict=True)
            ]
            assert ranks == sorted(ranks)
            assert all(rank >= ranks[-1] for rank, _ in due if ranks), "a job was claimed before one that waits longer"
            if rate is not None and credit is not None:
                self._debit(answer, want, len(due), rate, credit)
        delayed = [entry.ready for entry in self.entries if entry.delayed and not (self.blocked and entry.job.is_retry)]
        assert answer.next_delayed == min(delayed, default=None)
        assert answer.next_in == (None if answer.next_delayed is None else answer.next_delayed - self.clock())

    def _cap_leases(self, lease: float) -> None:
        for entry in self.entries:
            if entry.owner is not None and entry.lease > self.clock() + LONGEST_LEASE * lease:
                entry.lease = self.clock() + lease

    def _debit(self, answer: Claims, want: int, left: int, rate: float, credit: float) -> None:
        """Jobs were claimed until one of them led into debt."""
        before = credit - sum(claim.job.rows for claim in answer.jobs[:-1])
        assert before >= 0
        after = before - sum(claim.job.rows for claim in answer.jobs[-1:])
        assert after < 0 or len(answer.jobs) == want or left == 0
        self.tokens, self.tokens_at, self.rate = after, self.clock(), rate

    def _drop_expired(self) -> None:
        self.entries = [
            entry
            for entry in self.entries
            if not (self._expired(entry) and entry.planned and self.find_open_sweep(entry.job.sweep) is None)
        ]

    def _block_expired(self) -> None:
        for entry in self.entries:
            if self.blocked and entry.job.is_retry and self._expired(entry):
                entry.owner, entry.ready, entry.delayed = None, entry.lease, True

    def _expired(self, entry: Entry) -> bool:
        return entry.owner is not None and entry.lease <= self.clock()

    def _due(self) -> list[tuple[Rank, Entry]]:
        """All jobs that a claim may take: expired leases, then due retries, then waiting jobs, each oldest first."""
        expired = [((0, entry.lease), entry) for entry in self.entries if self._expired(entry)]
        idle = [entry for entry in self.entries if entry.owner is None]
        retries = [((1, entry.ready), entry) for entry in idle if entry.delayed and self.is_due(entry)]
        return expired + retries + [((2, entry.queued), entry) for entry in idle if not entry.delayed]

    def _assign(self, claim: Claim, lease: float, due: list[tuple[Rank, Entry]], wait: float) -> Rank:
        for at, (rank, entry) in enumerate(due):
            if entry.job == claim.job and entry.deliveries + 1 == claim.delivery:
                since = entry.ready if entry.owner is None else entry.lease
                assert abs(wait - max(0.0, self.clock() - since)) < 0.001
                entry.deliveries, entry.delayed = claim.delivery, False
                entry.owner, entry.lease = claim, self.clock() + lease
                del due[at]
                return rank
        raise AssertionError(f"no job that is due matches {claim}")

    def extend(self, claims: Sequence[Claim], lease: float) -> set[str]:
        return self._each(claims, lambda entry, claim: setattr(entry, "lease", self.clock() + lease))

    def release(self, claims: Sequence[Claim]) -> set[str]:
        refund = sum(claim.refund for claim in claims if self.entry_of(claim) is not None)
        lost = self._each(claims, self._release_entry)
        self._admit()
        self.refund(refund, self.rate)
        return lost

    def _release_entry(self, entry: Entry, claim: Claim) -> None:
        if entry.planned and self.find_open_sweep(entry.job.sweep) is None:
            self.entries.remove(entry)
        else:
            entry.job, entry.owner, entry.ready = claim.job, None, self.clock()
            entry.deliveries -= 1
            entry.queued, entry.delayed = self._next_place(), self.blocked and entry.job.is_retry

    def _each(self, claims: Sequence[Claim], operation: Callable[[Entry, Claim], None]) -> set[str]:
        lost = set()
        for claim in claims:
            entry = self.entry_of(claim)
            if entry is None:
                lost.add(claim.id)
            else:
                operation(entry, claim)
        return lost
