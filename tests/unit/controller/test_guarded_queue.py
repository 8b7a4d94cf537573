"""The circuit breaker around the queue: one outage answers for all calls, a probe closes the breaker again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kubesweep.errors import Damaged, Outage
from kubesweep.queue.model import ScheduleRef, Stats
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_controller.queue import guarded_queue
from kubesweep_controller.queue.guarded_queue import OPEN_SECONDS, GuardedQueue

REF = ScheduleRef("install0", "shop", "carts", "8b5f6f0e-0000-4000-8000-000000000001")


class Flaky(SqliteQueue):
    """Raises ``error`` while there is one, and counts the calls that reach it."""

    error: Outage | None = None
    calls = 0

    async def stats(self, refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return await super().stats(refs)

    async def schedules(self) -> tuple[ScheduleRef, ...]:
        raise Outage("QueueTimeout", "did not answer in time")


@pytest.fixture
def flaky() -> Flaky:
    return Flaky(":memory:")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds = [1000.0]
    monkeypatch.setattr(guarded_queue, "_now", lambda: seconds[0])
    return seconds


async def test_an_outage_answers_for_every_call_until_it_is_old(flaky: Flaky, now: list[float]) -> None:
    queue = GuardedQueue(flaky, "install0", lambda: None)
    flaky.error = Outage("QueueUnreachable", "no route")
    for _ in range(3):
        with pytest.raises(Outage, match="no route"):
            await queue.stats(REF)
    with pytest.raises(Outage, match="no route"):
        await queue.forget(REF)
    assert flaky.calls == 1
    now[0] += OPEN_SECONDS
    with pytest.raises(Outage):
        await queue.stats(REF)
    assert (flaky.calls, queue.outage_seconds) == (2, OPEN_SECONDS)


async def test_a_probe_passes_an_open_breaker_and_reports_that_the_queue_is_available(
    flaky: Flaky, now: list[float]
) -> None:
    available: list[float] = []
    queue = GuardedQueue(flaky, "install0", lambda: available.append(now[0]))
    await queue.probe()
    await queue.probe()
    assert available == [1000.0]
    flaky.error = Outage("QueueUnreachable", "no route")
    await queue.probe()
    now[0] += 1
    flaky.error = None
    await queue.probe()
    assert (available, queue.outage_seconds) == ([1000.0, 1001.0], 0)
    assert not (await queue.stats(REF)).known


async def test_the_log_says_once_that_the_queue_responds_is_unavailable_and_is_available_again(
    flaky: Flaky, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    queue = GuardedQueue(flaky, "install0", lambda: None)
    with caplog.at_level("INFO", logger=guarded_queue.log.name):
        for error in (None, None, Outage("QueueUnreachable", "no route"), Outage("QueueUnreachable", "timeout"), None):
            flaky.error = error
            await queue.probe()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the queue responds",
        "the queue is unavailable: no route",
        "the queue is available again",
    ]


async def test_every_probe_says_whether_the_queue_responds_also_without_a_schedule(
    flaky: Flaky, now: list[float]
) -> None:
    seen: list[bool] = []
    queue = GuardedQueue(flaky, "install0", lambda: None, seen.append)
    await queue.probe()
    flaky.error = Outage("QueueUnreachable", "no route")
    await queue.probe()
    flaky.error = None
    await queue.probe()
    assert seen == [True, False, True]


async def test_damaged_keys_and_slow_searches_do_not_open_the_breaker(flaky: Flaky, now: list[float]) -> None:
    queue = GuardedQueue(flaky, "install0", lambda: None)
    flaky.error = Damaged("QueueDamaged", "not a hash")
    with pytest.raises(Damaged):
        await queue.stats(REF)
    with pytest.raises(Outage, match="in time"):
        await queue.schedules()
    flaky.error = None
    assert not (await queue.stats(REF)).known
    assert queue.outage_seconds == 0
