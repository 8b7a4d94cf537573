"""The state that the rules of the state machine share: the queue, the model, and the claims of the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
)

from kubesweep.queue.model import (
    Claim,
    JobKind,
    Key,
    Limits,
    PlanVersion,
    Settlement,
    SweepRequest,
    Window,
)
from kubesweep.queue.service import QueueService
from tests.contract.backends import Backend, Clock
from tests.contract.helpers import CUTOFF, REF, a_baseline
from tests.contract.reference_model import Model

T = TypeVar("T")

WORKERS = ("ann", "bob", "eve")
ERRORS = ("CheckViolation", "Rejected")
OUTCOMES_OF_ROWS = ("applied", "skipped", "unconfirmed", "retry", "dead", "rest", "half")
SHARED = tuple((f"shared{number}",) for number in range(3))  # rows that are in jobs of several sweeps

workers = st.sampled_from(WORKERS)
picks = st.integers(0, 10**6)


class MachineBase(RuleBasedStateMachine):
    def __init__(self, backend: Backend, lengths: Callable[[], tuple[int, int]] = lambda: (0, 0)) -> None:
        """``lengths`` returns the lengths of the marker that KEDA reads, and of the delayed retries."""
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
        self.excluded: tuple[int, frozenset[Key]] | None = None
        self.claimed: list[Claim] = []  # claims that a worker has, or believes to have
        self.finished: list[str] = []
        self.generation = 1
        self.serial = 0
        self.limits = Limits()

    def do(self, operation: Awaitable[T]) -> T:
        async def run() -> T:
            return await operation

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
        """In the end every waiting job can be claimed, and each excluded row is in exactly one place."""
        if not self.model.known:
            return
        self.clock.advance(10**6)
        queue = self.queues["ann"]
        self.do(queue.pause(REF, False))
        if self.model.blocked:
            self._plan_a_window(queue)
        claims = self.do(queue.claim(REF, "last", 10**6, Limits())).jobs
        retrying = [key for claim in claims if claim.job.is_retry for key in claim.job.keys]
        dead = [dead_letter.key for dead_letter in self.do(queue.dead_letters(REF, most=10**6))]
        assert sorted(retrying + dead) == sorted(self.do(queue.excluded(REF))[1])

    def _plan_a_window(self, queue: QueueService) -> None:
        """A sweep that needs no approval unblocks retries."""
        self.generation += 1
        opened = self.do(queue.open_sweep(REF, SweepRequest(tick=None, plan=self.plan, retention=10**9)))
        claims = self.do(queue.claim(REF, "last", 10**6, Limits())).jobs
        (first,) = [claim for claim in claims if claim.job.sweep == opened.sweep and claim.job.kind is JobKind.PLAN]
        assert not any(claim.job.is_retry for claim in claims), "a retry was claimed while it is blocked"
        assert self.do(queue.advance(REF, first, Window(CUTOFF, baseline=a_baseline())))

    @initialize(rate=st.sampled_from([None, 4.0]), halt_above=st.sampled_from([4, 1000]), late=st.booleans())
    def settings_of_the_plan(self, rate: float | None, halt_above: int, late: bool) -> None:
        self.limits = Limits(rows_per_second=rate, halt_above=halt_above, halt_at_end=late)

    def pick(self, number: int) -> Claim:
        return self.claimed[number % len(self.claimed)]

    def fresh(self, count: int) -> tuple[Key, ...]:
        self.serial += count
        return tuple((f"{number:06d}",) for number in range(self.serial - count, self.serial))

    @property
    def plan(self) -> PlanVersion:
        return PlanVersion(self.generation, f"hash{self.generation}")
