from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kubesweep.queue.service import QueueService
from tests.contract.backends import BACKENDS, Backend, Clock, Open
from tests.kits.memory import pytest_configure

__all__ = ["backend", "clock", "make_queue", "pytest_configure", "queue"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
async def make_queue(backend: Backend, clock: Clock) -> AsyncIterator[Open]:
    """Opens the one store of this test, as often as it is called."""
    opened: list[QueueService] = []
    with backend(clock) as open_:

        def make() -> QueueService:
            opened.append(open_())
            return opened[-1]

        yield make
        for queue in opened:
            await queue.close()


@pytest.fixture
async def queue(make_queue: Open) -> QueueService:
    return make_queue()
