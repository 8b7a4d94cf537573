from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.queue.sqlite import SqliteQueue
from tests.controller_kit import Clock, House
from tests.memory import pytest_configure

__all__ = ["house", "pytest_configure"]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A schedule as the controller sees it, on a queue of its own."""
    clock = Clock()
    queue = SqliteQueue(str(tmp_path / "queue.db"), clock=clock)
    yield House(queue, clock)
    await queue.close()
