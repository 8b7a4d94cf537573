"""How the console is served. Every setting has a default that allows nobody to act."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["ConsoleSettings"]


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """``hosts``: host names that a request may be addressed to (without a port); None: any. It protects against DNS rebinding.

    ``key``: a browser that presented it may act; empty: nobody may. ``private``: only such a browser may read either. ``base``: the path under which a proxy serves the
    console, such as ``/sweeps``. ``interval``: seconds between two readings of the provider while somebody watches.
    ``patience``: seconds that a page waits for such a reading before it shows the former one.
    ``streams``: most pages that are kept current at once; each further one is read as it is, and asks again later.
    """

    hosts: frozenset[str] | None = None
    key: str = ""
    private: bool = False
    base: str = ""
    interval: float = 2.0
    patience: float = 4.0
    streams: int = 200
    clock: Callable[[], float] = time.time
