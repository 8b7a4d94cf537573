"""Compares a queue with the reference model, step by step, while workers interleave, crash, are late and repeat calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kubesweep.queue.model import (
    Limits,
    OpenResult,
    Sweep,
    SweepRequest,
    SweepState,
    Window,
)
from tests.contract.backends import BACKENDS
from tests.contract.helpers import CUTOFF, OTHER, REF, a_baseline
from tests.contract.machine import picks, workers
from tests.contract.reference_model import SweepRecord
from tests.contract.worker_rules import WorkerRules
from tests.kits.servers import shared


class QueueMachine(WorkerRules):
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
            assert self.model.find_sweep(opened.sweep) is None
            self.model.opened(opened.sweep, request)
        elif expected is OpenResult.FORBIDDEN:
            assert opened.sweep == self.model.sweeps[0].id

    @rule(who=workers)
    def check(self, who: str) -> None:
        expected = self.model.enqueue_check(self.plan)
        assert self.do(self.queues[who].enqueue_check(REF, self.plan)) is expected

    @rule(who=workers, paused=st.booleans())
    def pause(self, who: str, paused: bool) -> None:
        self.do(self.queues[who].pause(REF, paused))
        self.model.paused = paused and self.model.known

    @rule(who=workers)
    def restore_baseline(self, who: str) -> None:
        self.do(self.queues[who].restore_baseline(REF, a_baseline("restored")))
        self.model.restore_baseline(a_baseline("restored"))

    @rule(who=workers)
    def approve(self, who: str) -> None:
        assert self.do(self.queues[who].approve(REF)) == self.model.approve()

    @precondition(lambda self: self.model.attempts)
    @rule(who=workers, every=st.booleans(), pick=picks, purge=st.booleans())
    def replay_or_purge(self, who: str, every: bool, pick: int, purge: bool) -> None:
        rows = sorted(self.model.attempts)
        keys = None if every else [rows[pick % len(rows)], rows[-1], ("missing",)]
        if purge:
            assert self.do(self.queues[who].purge(REF, keys=keys)) == self.model.purge(keys)
        else:
            assert self.do(self.queues[who].replay(REF, keys=keys)) == self.model.replay(keys)

    @rule(seconds=st.sampled_from([0.5, 7.0, 31.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -40.0, 4000.0]))
    def clock_jumps(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(who=workers, outcome=st.sampled_from(["sweeps", "fails", "is forgotten"]))
    def another_schedule(self, who: str, outcome: str) -> None:
        """What happens to another schedule changes no counter of the first."""
        queue = self.queues[who]
        self.other_tick = max(self.other_tick + 1, self.clock.now)
        opened = self.do(queue.open_sweep(OTHER, SweepRequest(tick=self.other_tick, plan=self.plan)))
        claims = self.do(queue.claim(OTHER, who, 5, Limits())).jobs
        if outcome == "sweeps" and opened.answer is OpenResult.ENQUEUED:
            assert [claim.job.sweep for claim in claims] == [opened.sweep]
            assert self.do(queue.advance(OTHER, claims[0], Window(CUTOFF)))
        elif outcome == "fails" and claims:
            state = SweepState.FAILED
            assert self.do(queue.end_sweep(OTHER, claims[0], state, "Reason", "a sentence"))
        else:
            self.do(queue.forget(OTHER))
            assert not self.do(queue.stats([OTHER]))[0].known

    @rule(who=workers)
    def process_restarts(self, who: str) -> None:
        self.do(self.queues[who].close())
        self.queues[who] = self.open()
        self.claimed = [claim for claim in self.claimed if claim.consumer != who]

    @precondition(lambda self: self.model.known)
    @rule(chance=st.integers(0, 9))
    def queue_loses_its_data(self, chance: int) -> None:
        if chance == 0:
            self.do(self.queues["ann"].forget(REF))
            self.model.forget()
            self.finished.clear()  # a repeated request gets the id of its earlier sweep

    @invariant()
    def the_implementation_agrees_with_the_model(self) -> None:
        model = self.model
        (stats,) = self.do(self.queues["bob"].stats([REF]))
        idle = [entry for entry in model.entries if entry.owner is None]
        ready = [entry.ready for entry in idle if model.is_due(entry)]
        assert (stats.known, stats.paused, stats.last_tick) == (model.known, model.paused, model.last_tick)
        assert (stats.baseline, stats.retries_blocked) == (model.baseline, model.blocked)
        assert (stats.ready, stats.delayed) == (len(ready), len(idle) - len(ready))
        assert (stats.running, stats.oldest_ready) == (len(model.entries) - len(idle), model.oldest_ready())
        assert (stats.excluded, stats.dead) == (len(model.attempts), len(model.dead_letters))
        assert {answer: getattr(stats.ticks, answer) for answer in OpenResult} == model.ticks
        sweeps = stats.history if stats.sweep is None else (stats.sweep, *stats.history)
        assert [self.shown(sweep) for sweep in sweeps] == [self.expected(record) for record in model.sweeps]
        excluded = self.do(self.queues["eve"].excluded(REF))
        assert excluded.keys == set(model.attempts)
        if self.excluded is not None and self.excluded[0] == excluded.version:
            assert self.excluded[1] == excluded.keys, "workers keep the excluded set while its version is the same"
        self.excluded = excluded[:2] if model.known else None
        dead_letters = self.do(self.queues["ann"].dead_letters(REF, most=10**6))
        found = {x.key: (x.error, x.sweep, x.at, [attempt.error for attempt in x.attempts]) for x in dead_letters}
        assert found == {
            key: (x.error, x.sweep, x.at, model.attempts[key][-20:]) for key, x in model.dead_letters.items()
        }

    def shown(self, sweep: Sweep) -> tuple[Any, ...]:
        counts = (sweep.planned, sweep.applied, sweep.skipped, sweep.unconfirmed, sweep.retrying, sweep.dead)
        return (sweep.id, sweep.tick, sweep.plan, sweep.state, sweep.cutoff, sweep.finished, sweep.open_jobs, *counts)

    def expected(self, record: SweepRecord) -> tuple[Any, ...]:
        counts = (record.planned, record.applied, record.skipped, record.unconfirmed, record.retrying, record.dead)
        left = len(self.model.open_entries(record.id))
        return (record.id, record.tick, record.plan, record.state, record.cutoff, record.finished, left, *counts)

    @invariant()
    def the_counters_add_up(self) -> None:
        ended_early = {SweepState.FAILED, SweepState.HALTED, SweepState.SUPERSEDED}
        for record in self.model.sweeps:
            if record.state not in ended_early:
                left = sum(entry.job.rows for entry in self.model.open_entries(record.id))
                assert record.planned == record.settled_rows + left
            assert (record.state is SweepState.COMPLETED) is (record.id in self.finished)
        assert len(self.finished) == len(set(self.finished))

    @invariant()
    def the_marker_shows_delayed_jobs_that_will_be_claimed_to_keda(self) -> None:
        marker, delayed = self.lengths()
        blocked = sum(self.model.blocked and entry.delayed and entry.job.is_retry for entry in self.model.entries)
        assert marker == min(1, delayed - (blocked if delayed else 0))

    @invariant()
    def each_excluded_row_is_in_one_place(self) -> None:
        assert sorted(self.model.retrying() + list(self.model.dead_letters)) == sorted(self.model.attempts)


def lengths_on(name: str) -> Callable[[], tuple[int, int]]:
    """The lengths on a server. A file has no marker."""
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
