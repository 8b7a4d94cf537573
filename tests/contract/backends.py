"""Every implementation of QueueService that the suite runs against.

A backend is a context manager that makes one empty store and gives a function that opens it: call it several times and
the objects share the store, as several processes would. A further implementation is one entry in ``BACKENDS``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from kubesweep.queue.connect import connect
from kubesweep.queue.service import QueueService
from tests.kits.servers import binaries, shared


class Clock:
    """Seconds since the epoch, as far as the queue is concerned."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


Open = Callable[[], QueueService]
Backend = Callable[[Clock], AbstractContextManager[Open]]


@contextmanager
def sqlite(clock: Clock) -> Iterator[Open]:
    with tempfile.TemporaryDirectory(prefix="kubesweep-contract-") as folder:
        url = f"sqlite:///{Path(folder) / 'queue.db'}"
        yield lambda: connect(url, clock=clock)


def server(kind: str, options: str = "") -> Backend:
    @contextmanager
    def backend(clock: Clock) -> Iterator[Open]:
        store = shared(kind)
        with store.client() as client:
            client.flushall()
        yield lambda: connect(store.socket_url + options, clock=clock)

    return backend


BACKENDS: dict[str, Backend] = {
    "sqlite": sqlite,
    **{kind: server(kind) for kind in binaries()},
    **{f"{kind}-decoded": server(kind, "&decode_responses=true") for kind in binaries()},
}
