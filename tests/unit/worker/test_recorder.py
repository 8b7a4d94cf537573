"""What a worker records: the seconds of its phases, waits, durations, rows and calls."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.api.plan import Effect, Webhook
from kubesweep.queue.model import Claim, Claims, Job, JobKind, RowCounts
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.phases import CLAIM, EFFECT, IDLE, PHASES, READ, SETTLE, THROTTLED, WRITE
from kubesweep_worker.recorder import JOB_SECONDS, Histogram, Recorder, Snapshot
from tests.kits.worker import a_plan, with_effect

SLOTS = 3


class Bench:
    def __init__(self, slots: int = SLOTS, **changes: Any) -> None:
        self.now = 1000.0
        self.recorder = Recorder(a_plan(**changes), slots, lambda: self.now)
        self.running: list[JobRun] = []

    def begin(self, kind: JobKind = JobKind.RANGE) -> JobRun:
        run = self.recorder.begin(claim(kind))
        self.running.append(run)
        return run

    def end(self, run: JobRun) -> None:
        self.running.remove(run)
        self.recorder.end(run)

    def snapshot(self) -> Snapshot:
        return self.recorder.snapshot(self.running)

    def seconds(self) -> dict[str, float]:
        return {phase: round(value, 6) for phase, value in self.snapshot().seconds.items() if value > 1e-9}


def claim(kind: JobKind = JobKind.RANGE) -> Claim:
    return Claim("1", "me", 1, Job(kind, rows=5))


def test_each_second_of_each_slot_is_in_one_phase() -> None:
    bench = Bench(slots=2)
    bench.now += 1
    bench.recorder.call_begins(CLAIM)
    bench.now += 2
    bench.recorder.call_ends(CLAIM)
    run = bench.begin()
    bench.now += 4
    run.enter(WRITE)
    bench.now += 8
    assert bench.seconds() == {"idle": 2 + 12, "claim": 4, "read": 4, "write": 8}
    bench.end(run)
    bench.recorder.call_begins(SETTLE)
    bench.now += 16
    bench.recorder.call_ends(SETTLE)
    assert bench.seconds() == {"idle": 2 + 12, "claim": 4, "read": 4, "write": 8, "settle": 32}


def test_free_slots_are_throttled_from_an_answer_that_forbids_jobs_to_one_that_does_not() -> None:
    bench = Bench(slots=1)
    bench.now += 1
    for answer in (Claims(paused=True), Claims(wait=3.0), Claims(paused=True)):
        bench.recorder.claimed(answer, throttled=False)
        bench.now += 2
    bench.recorder.claimed(Claims(), throttled=True)
    bench.now += 2
    bench.recorder.claimed(Claims(), throttled=False)
    bench.now += 4
    assert bench.seconds() == {"idle": 5, "throttled": 8}


def test_a_call_that_settles_counts_before_one_that_only_claims() -> None:
    bench = Bench(slots=1)
    bench.recorder.call_begins(CLAIM)
    bench.now += 1
    bench.recorder.call_begins(SETTLE)
    bench.now += 2
    bench.recorder.call_ends(CLAIM)
    bench.now += 4
    bench.recorder.call_ends(SETTLE)
    bench.now += 8
    assert bench.seconds() == {"claim": 1, "settle": 6, "idle": 8}


def test_a_job_is_throttled_while_calls_wait_for_the_rate_and_none_runs() -> None:
    bench = Bench(slots=1)
    run = bench.begin()
    run.enter(EFFECT)
    run.call_begins()
    bench.now += 1
    run.wait_begins()
    bench.now += 2  # the first call still runs
    run.call_ends()
    bench.now += 4
    run.wait_begins()
    bench.now += 8
    run.wait_ends()
    run.call_begins()
    bench.now += 16
    run.call_ends()  # the other one still waits
    bench.now += 32
    run.wait_ends()
    bench.now += 64
    assert bench.seconds() == {"effect": 1 + 2 + 16 + 64, "throttled": 4 + 8 + 32}


@given(st.integers(0, 2**32))
def test_the_phases_add_up_at_every_moment_and_never_decrease(seed: int) -> None:
    chance, bench = random.Random(seed), Bench()
    under_way: list[int] = []
    before = dict.fromkeys(PHASES, 0.0)
    for _ in range(40):
        bench.now += chance.choice((0.0, 0.25, 1.5))
        act = chance.choice(("begin", "end", "enter", "call", "answer", "rest", "look"))
        if act == "begin" and len(bench.running) < SLOTS:
            bench.begin()
        elif act == "end" and bench.running:
            bench.end(chance.choice(bench.running))
        elif act == "enter" and bench.running:
            chance.choice(bench.running).enter(chance.choice((READ, EFFECT, WRITE, SETTLE, THROTTLED)))
        elif act == "call":
            under_way.append(chance.choice((CLAIM, SETTLE)))
            bench.recorder.call_begins(under_way[-1])
        elif act == "answer" and under_way:
            bench.recorder.call_ends(under_way.pop())
        elif act == "rest":
            bench.recorder.rest(chance.choice((IDLE, THROTTLED)))
        now = bench.snapshot().seconds
        assert sum(now.values()) == pytest.approx(SLOTS * (bench.now - 1000.0))
        assert all(now[phase] >= before[phase] - 1e-9 for phase in PHASES)
        before = dict(now)


def test_a_duration_is_from_the_claim_to_the_end_and_has_the_kind_of_its_job() -> None:
    bench = Bench()
    for kind, seconds in ((JobKind.PLAN, 0.02), (JobKind.RANGE, 7.0), (JobKind.KEYS, 7.0), (JobKind.CHECK, 4000.0)):
        run = bench.begin(kind)
        bench.now += seconds
        bench.end(run)
    found = bench.snapshot().durations
    assert {kind: (sum(each.counts), each.total) for kind, each in found.items()} == {
        "plan": (1, pytest.approx(0.02)),
        "batch": (2, pytest.approx(14.0)),
        "check": (1, pytest.approx(4000.0)),
    }
    assert found["check"].counts[-1] == 1


def test_waits_are_counted_for_each_job_by_its_kind() -> None:
    bench = Bench()
    kinds = (JobKind.RANGE, JobKind.PLAN, JobKind.RANGE, JobKind.KEYS, JobKind.CHECK)
    claims = Claims(jobs=tuple(claim(kind) for kind in kinds), waits=((3, 0.5), (2, 20.0)))
    bench.recorder.claimed(claims, throttled=False)
    found = bench.snapshot().waits
    assert {kind: (sum(each.counts), each.total) for kind, each in found.items()} == {
        "plan": (1, 0.5),
        "batch": (3, 21.0),
        "check": (1, 20.0),
    }


@pytest.mark.parametrize(
    ("value", "bound"), [(0.0, 0.001), (0.001, 0.001), (0.0011, 0.005), (3600.0, 3600.0), (3601.0, None)]
)
def test_a_value_is_in_the_first_bucket_whose_bound_it_does_not_exceed(value: float, bound: float | None) -> None:
    histogram = Histogram(JOB_SECONDS)
    histogram.observe(value, 2)
    place = len(JOB_SECONDS) if bound is None else JOB_SECONDS.index(bound)
    assert [i for i, count in enumerate(histogram.counts) if count] == [place]
    assert (histogram.counts[place], histogram.total) == (2, 2 * value)


def test_a_snapshot_does_not_change_with_what_follows() -> None:
    bench = Bench()
    before = bench.snapshot()
    bench.recorder.counted(RowCounts(applied=3, retrying=2))
    bench.recorder.called(0.1, "ok")
    run = bench.begin()
    bench.now += 1
    bench.end(run)
    assert set(before.rows.values()) == {0}
    assert sum(before.durations["batch"].counts) == 0
    assert bench.snapshot().rows == {"applied": 3, "skipped": 0, "unconfirmed": 0, "retrying": 2, "dead": 0}


def test_only_an_effect_has_calls_and_a_webhook_has_other_answers_than_a_handler() -> None:
    handler = with_effect(a_plan())
    hook = msgspec.structs.replace(handler, effect=Effect(webhook=Webhook("http://receiver")))
    none, one, other = (Recorder(plan, 1, lambda: 0.0).snapshot(()) for plan in (a_plan(), handler, hook))
    assert (none.calls, none.responses) == (None, {})
    assert set(one.responses) == {"ok", "error"}
    assert set(other.responses) == {"2xx", "3xx", "4xx", "429", "5xx", "timeout", "connection"}
