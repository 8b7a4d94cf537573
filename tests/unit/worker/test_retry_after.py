"""Retry-After delays the row that requested it, within bounds, and no other row."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubesweep.api.plan import RetryPolicy, RowLimits
from kubesweep.errors import Outage, RetryAfter, RowError
from kubesweep.queue.model import Claim, Job, JobKind, SweepState
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.flow_control.backoff import MAX_RECEIVER_DELAY, MAX_ROW_DELAY, bounded_delay
from kubesweep_worker.jobs.rows.settlement import RowFailure, RowResults, build_settlement
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, key, with_effect

DAY = 86_400.0


class Clock:
    """Time that passes only while somebody sleeps."""

    now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path, MemorySource(100), plan=with_effect(a_plan()), effect=ScriptedEffect())
    yield made
    await made.queue.close()


def delays(*asked: Any, unspent: bool = False) -> list[tuple[float, int]]:
    """(seconds, rows) of the retries of one row for each that ``asked``."""
    failures = [RowFailure(key(i), "E", "m", retry_after=seconds) for i, seconds in enumerate(asked)]
    results = RowResults(unspent=failures) if unspent else RowResults(failed=failures)
    claim = Claim("1", "me", 1, Job(JobKind.RANGE, rows=len(asked)))
    made = build_settlement(claim, results, RetryPolicy(backoff=2.0), lambda: 1.0)
    return [(retry.delay, len(retry.rows)) for retry in made.retry]


@pytest.mark.parametrize("seconds", [None, 0, -1, -math.inf, math.nan, "soon", [], "-5"])
def test_what_is_no_number_of_seconds_is_not_heeded(seconds: Any) -> None:
    assert bounded_delay(seconds, MAX_ROW_DELAY) == 0.0
    assert delays(seconds) == [(2.0, 1)]


@pytest.mark.parametrize("seconds", [10**12, math.inf, 10**400, 1e308, "1e300"])
def test_what_is_beyond_every_calendar_is_a_day_for_a_row_and_minutes_for_all(seconds: Any) -> None:
    assert (bounded_delay(seconds, MAX_ROW_DELAY), bounded_delay(seconds, MAX_RECEIVER_DELAY)) == (DAY, 300.0)
    assert delays(seconds) == [(DAY, 1)]


def test_a_row_waits_no_longer_than_it_asked_because_of_another() -> None:
    assert delays(1, DAY, None, 1.2, 100, 110, 3600) == [(2.0, 1), (1.2, 2), (110.0, 2), (3600.0, 1), (DAY, 1)]


@pytest.mark.parametrize(
    ("asked", "retries"),
    [
        ((0.5,), [(0.5, 1)]),
        ((1, 2), [(2.0, 2)]),
        ((1, 2.1), [(1.0, 1), (2.1, 1)]),
        ((100, 125), [(125.0, 2)]),
        ((100, 125.1), [(100.0, 1), (125.1, 1)]),
        ((100, 120, 140), [(120.0, 2), (140.0, 1)]),
    ],
)
def test_rows_share_a_retry_within_a_second_or_a_quarter_of_the_shortest_delay(
    asked: tuple[float, ...], retries: list[tuple[float, int]]
) -> None:
    assert delays(*asked) == retries


def test_rows_without_a_known_cause_wait_each_for_itself_too() -> None:
    assert delays(None, DAY, 1, 60, unspent=True) == [(16.0, 2), (60.0, 1), (DAY, 1)]


async def test_a_handler_may_raise_any_delay_for_one_row(bench: Workbench) -> None:
    class Broken(RowError):
        """An error of the handler's own, with a delay that no one can wait for."""

    def script(delivery: Delivery) -> None:
        if delivery.key == key(1):
            raise RetryAfter(10**12)
        if delivery.key == key(2):
            raise Broken("Broken", "m", retry_after=math.nan)
        if delivery.key == key(3):
            raise Outage("Http429", "the receiver answered 429", retry_after=math.inf)

    bench.effect.script = script
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.excluded) == (SweepState.COMPLETED, 97, 3)


async def test_a_lonely_row_that_asks_for_a_day_waits_alone(bench: Workbench) -> None:
    """One row for each job: no other row was served when the first one gets Retry-After."""
    bench.plan = with_effect(a_plan(limits=RowLimits(batch_rows=1)), concurrency=1)

    def script(delivery: Delivery) -> None:
        if delivery.key == key(0):
            raise Outage("Http429", "the receiver answered 429", retry_after=DAY)

    bench.effect.script = script
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.excluded) == (SweepState.COMPLETED, 99, 1)
    assert stats.delayed == 1


async def test_a_receiver_that_answers_429_to_all_is_left_alone_for_as_long_as_most_requested(
    bench: Workbench,
) -> None:
    clock = Clock()
    bench.settings = dataclasses.replace(
        bench.settings, monotonic=lambda: clock.now, sleep=clock.sleep, deadline=1e9, backoff=0.5, max_backoff=30.0
    )

    def script(delivery: Delivery) -> None:
        if clock.now < 60:
            raise Outage("Http429", "the receiver answered 429", retry_after=DAY if delivery.key == key(0) else 60.0)

    bench.effect.script = script
    stats = await bench.sweep()
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.excluded) == (100, 0)
    assert 60 <= clock.now < 120
    assert len(bench.effect.calls) < 150
