"""Retry delays: exponential backoff with jitter, and the bounds for a delay that a row or a receiver requests.

Each delay doubles per failure and half of it is random ("equal jitter" of Marc Brooker, "Exponential Backoff And Jitter"),
so clients that fail together do not retry together. A requested delay (Retry-After) is capped, because it may be wrong or
meant for a single row.
"""

from __future__ import annotations

import math
from collections.abc import Callable

MAX_ROW_DELAY = 86_400.0  # longest delay in seconds that one row may request
MAX_RECEIVER_DELAY = 300.0  # longest delay in seconds that a receiver may impose on all rows


def bounded_delay(seconds: float | None, most: float) -> float:
    """A requested delay in seconds, at most ``most``; 0 where the request is not a number."""
    try:
        asked = float(seconds or 0.0)
    except OverflowError:
        return most
    except (TypeError, ValueError):  # a handler's own exception class may carry any object
        return 0.0
    return 0.0 if math.isnan(asked) else min(most, max(0.0, asked))


def ceiling(attempt: int, base: float, cap: float) -> float:
    """``base`` doubled for each attempt after the first, at most ``cap``; no overflow for huge attempt numbers."""
    return float(min(cap, base * 2.0 ** min(max(attempt, 1) - 1, 60)))


def retry_delay(attempt: int, base: float, cap: float, random: Callable[[], float]) -> float:
    """Seconds until rows that failed their ``attempt``-th attempt are retried."""
    full = ceiling(attempt, base, cap)
    return full / 2 + full / 2 * random()


def outage_delay(
    failures: int, base: float, cap: float, random: Callable[[], float], retry_after: float | None = None
) -> float:
    """Seconds until a service that failed ``failures`` times in a row is tried again; at least its bounded Retry-After."""
    return max(retry_delay(failures, base, cap, random), bounded_delay(retry_after, MAX_RECEIVER_DELAY))
