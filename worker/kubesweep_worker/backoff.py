"""How long to leave something alone. Full jitter for rows, so that what failed together does not come back together
(Marc Brooker, "Exponential Backoff And Jitter"); a floor of half for outages, so that a probe never becomes a hammer."""

from __future__ import annotations

from collections.abc import Callable

FLOOR = 0.1


def ceiling(attempt: int, base: float, cap: float) -> float:
    """``base`` doubled for each attempt after the first, at most ``cap``; safe for absurd attempts."""
    return float(min(cap, base * 2.0 ** min(max(attempt, 1) - 1, 60)))


def retry_delay(attempt: int, base: float, cap: float, random: Callable[[], float]) -> float:
    """Seconds before rows that failed their ``attempt``-th attempt are tried again."""
    return max(FLOOR, ceiling(attempt, base, cap) * random())


def outage_delay(
    strikes: int, base: float, cap: float, random: Callable[[], float], retry_after: float | None = None
) -> float:
    """Seconds before something that is away is asked again; never sooner than it asked for."""
    full = ceiling(strikes, base, cap)
    return max(full / 2 + full / 2 * random(), retry_after or 0.0)
