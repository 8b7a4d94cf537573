"""What a plan step asks a source about the stale rows of its sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["StaleSearch"]


@dataclass(frozen=True, slots=True)
class StaleSearch:
    """``seconds``: how long all of it may take in the database. ``newest``: find the newest stale row too. ``fixed`` is called when later
    writes can no longer change the number of rows; a source that cannot tell before the end does not call it."""

    seconds: float
    newest: bool = False
    fixed: Callable[[], None] = lambda: None
