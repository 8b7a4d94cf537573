"""The workbench of most tests of the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kits.worker import MemorySource, Workbench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    """A worker with a source of 1,000 stale rows in memory, and a queue of its own."""
    made = Workbench(tmp_path, MemorySource(1000))
    yield made
    await made.queue.close()
