from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from kubesweep.queue.sqlite.queue import SqliteQueue
from tests.kits.controller import Clock, ScheduleSimulation
from tests.kits.memory import pytest_configure

__all__ = ["pytest_configure", "sim"]

# How long an example takes to make or to try says something about the machine, which others use too.
settings.register_profile("kubesweep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kubesweep")


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[ScheduleSimulation]:
    """A schedule as the controller sees it, on a queue of its own."""
    clock = Clock()
    queue = SqliteQueue(str(tmp_path / "queue.db"), clock=clock)
    yield ScheduleSimulation(queue, clock)
    await queue.close()
