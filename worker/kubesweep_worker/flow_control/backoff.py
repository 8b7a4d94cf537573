"""How long to leave something alone: doubled for each failure in a row, and half of it by chance, so that what failed
together does not come back together and a retry never becomes a hammer ("equal jitter" of Marc Brooker, "Exponential
Backoff And Jitter").

What a row or a receiver asks for itself (Retry-After) is heeded within bounds: it may be mistaken, or meant for one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable

LONGEST = 86_400.0  # seconds that one row may ask for
LONGEST_PAUSE = 300.0  # seconds that a receiver may ask of everybody


def heeded(seconds: float | None, most: float) -> float:
    """What is asked for, as it counts: at most ``most``, and nothing where it is no number of seconds."""
    try:
        asked = float(seconds or 0.0)
    except OverflowError:
        return most
    except (TypeError, ValueError):  # a handler's own class of error may carry anything
        return 0.0
    return 0.0 if math.isnan(asked) else min(most, max(0.0, asked))


def ceiling(attempt: int, base: float, cap: float) -> float:
    """``base`` doubled for each attempt after the first, at most ``cap``; safe for absurd attempts."""
    return float(min(cap, base * 2.0 ** min(max(attempt, 1) - 1, 60)))


def retry_delay(attempt: int, base: float, cap: float, random: Callable[[], float]) -> float:
    """Seconds before rows that failed their ``attempt``-th attempt are tried again."""
    full = ceiling(attempt, base, cap)
    return full / 2 + full / 2 * random()


def outage_delay(
    strikes: int, base: float, cap: float, random: Callable[[], float], retry_after: float | None = None
) -> float:
    """Seconds before something that is away is asked again; not sooner than it asked for, within reason."""
    return max(retry_delay(strikes, base, cap, random), heeded(retry_after, LONGEST_PAUSE))
