"""Rules of the state machine: what workers do, even with claims that they have lost."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
)

from kubesweep.queue.model import (
    END_STATES,
    Claim,
    FailedRow,
    Job,
    JobKind,
    Key,
    Retry,
    Settlement,
    SweepState,
    Window,
)
from tests.contract.helpers import CUTOFF, REF, a_baseline
from tests.contract.machine import ERRORS, OUTCOMES_OF_ROWS, SHARED, MachineBase, picks, workers


class WorkerRules(MachineBase):
    @rule(who=workers, want=st.integers(0, 4), waits=st.booleans())
    def claim(self, who: str, want: int, waits: bool) -> None:
        queue = self.queues[who]
        answer = self.do(
            queue.claim_next(REF, who, want, self.limits, 0.0) if waits else queue.claim(REF, who, want, self.limits)
        )
        self.model.claim(want, self.limits, answer)
        self.claimed.extend(answer.jobs)

    @precondition(lambda self: self.claimed)
    @rule(pick=picks)
    def worker_drops_a_claim(self, pick: int) -> None:
        self.claimed.pop(pick % len(self.claimed))

    @precondition(lambda self: self.claimed)
    @rule(pick=picks, lease=st.sampled_from([1.0, 30.0]))
    def extend(self, pick: int, lease: float) -> None:
        claim = self.pick(pick)
        lost = self.do(self.queues[claim.consumer].extend(REF, [claim], lease))
        assert set(lost) == self.model.extend([claim], lease)

    @precondition(lambda self: self.claimed)
    @rule(pick=picks, maybe=st.booleans())
    def release(self, pick: int, maybe: bool) -> None:
        claim = self.pick(pick)
        claim = msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, may_have_committed=maybe))
        lost = self.do(self.queues[claim.consumer].release(REF, [claim]))
        assert set(lost) == self.model.release([claim])

    @precondition(lambda self: any(claim.job.kind is JobKind.PLAN for claim in self.claimed))
    @rule(pick=picks, sizes=st.lists(st.sampled_from([1, 2, 3, 55]), max_size=3), last=st.booleans(),
          shared=st.booleans(), database=st.sampled_from([None, "one", "two"]))  # fmt: skip
    def advance(self, pick: int, sizes: list[int], last: bool, shared: bool, database: str | None) -> None:
        plans = [claim for claim in self.claimed if claim.job.kind is JobKind.PLAN]
        claim = plans[pick % len(plans)]
        sweep, plan = claim.job.sweep, claim.job.plan
        jobs = [Job(JobKind.KEYS, plan, sweep, CUTOFF, keys=self.fresh(size), rows=size) for size in sizes]
        if shared:
            jobs.append(Job(JobKind.KEYS, plan, sweep, CUTOFF, low=self.fresh(1)[0], keys=SHARED, rows=len(SHARED)))
        rows = sum(job.rows for job in jobs)
        next_ = None if last else Job(JobKind.PLAN, plan, sweep, CUTOFF, low=self.fresh(1)[0])
        baseline = None if database is None else a_baseline(database)
        window = Window(CUTOFF, tuple(jobs), next_, planned=rows, baseline=baseline)
        assert self.do(self.queues[claim.consumer].advance(REF, claim, window)) is self.model.advance(claim, window)
        record = self.model.find_sweep(sweep)
        if record is not None and record.state is SweepState.COMPLETED and sweep not in self.finished:
            self.finished.append(sweep)

    @precondition(lambda self: self.claimed)
    @rule(pick=picks, state=st.sampled_from(sorted(END_STATES)), chance=st.integers(0, 2))
    def end_sweep(self, pick: int, state: SweepState, chance: int) -> None:
        claim = self.pick(pick)
        if claim.job.kind is JobKind.PLAN or (
            chance == 0 and state is not SweepState.AWAITING_APPROVAL
        ):  # only a plan job can wait for approval
            ended = self.do(self.queues[claim.consumer].end_sweep(REF, claim, state, "Reason", "a sentence"))
            assert ended is self.model.end_sweep(claim, state)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), count=st.integers(1, 3), want=st.integers(0, 3))
    def settle(self, data: st.DataObject, count: int, want: int) -> None:
        who = self.pick(data.draw(picks)).consumer
        mine = [claim for claim in self.claimed if claim.consumer == who and claim.job.kind is not JobKind.PLAN]
        settlements = [self.outcome(data, claim) for claim in mine[:count]]
        lost, finished, halted = self.model.settle(settlements, self.limits)
        settled = self.do(self.queues[who].settle(REF, who, settlements, want, self.limits))
        assert (set(settled.lost), set(settled.finished), set(settled.halted)) == (lost, finished, halted)
        self.finished = [sweep for sweep in self.finished if sweep not in halted] + list(settled.finished)
        self.model.claim(want, self.limits, settled.claims)
        for s in settlements:
            if s.rest is not None and s.claim.id not in lost:
                self.parts = [part for part in self.parts if part.claim.id != s.claim.id] + [s]
                self.claimed.remove(s.claim)
                self.claimed.append(msgspec.structs.replace(s.claim, job=s.rest))
        self.claimed.extend(settled.claims.jobs)

    @precondition(lambda self: self.parts)
    @rule(pick=picks)
    def settle_a_part_again(self, pick: int) -> None:
        """Settle a part again whose answer was lost: it is counted once, whatever happened to the job meanwhile."""
        part = self.parts[pick % len(self.parts)]
        who = part.claim.consumer
        expected = self.model.settle([part], self.limits)
        settled = self.do(self.queues[who].settle(REF, who, [part], 0, self.limits))
        assert (set(settled.lost), set(settled.finished), set(settled.halted)) == expected

    def outcome(self, data: st.DataObject, claim: Claim) -> Settlement:
        """Any outcome for each row. The claim is kept, so it will be settled again, too late."""
        rows = claim.job.keys
        outcomes = data.draw(st.lists(st.sampled_from(OUTCOMES_OF_ROWS), min_size=1, max_size=4))
        where: dict[str, list[Key]] = {outcome: [] for outcome in OUTCOMES_OF_ROWS}
        for at, row in enumerate(rows):
            where[outcomes[at % len(outcomes)]].append(row)
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
        low = None if job.is_retry else self.fresh(1)[0]  # distinguishes jobs of the shared rows
        return msgspec.structs.replace(job, keys=tuple(keys), rows=len(keys), low=low)
