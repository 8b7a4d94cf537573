"""How fast a sweep may go, decided from samples of its database's health. Pure.

From half of a limit on the sweep is slower, at the limit it is paused. It becomes slower at once and faster one step a sample, and only once
the signal is clearly under the value at which the step began (hysteresis): a signal that the sweep itself raises would otherwise
make it start and stop each second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kubesweep.queue.model import (
    LOCK_WAITS,
    OLDEST_XMIN,
    QUERY,
    REPLAY_LAG,
    VACUUM,
    HealthLimits,
    Sample,
    Throttle,
)

MAX_AGE = 5.0  # seconds after which a sample says nothing any more
FACTORS = (1.0, 0.5, 0.25, 0.0)  # of the full speed
SLOWER_FROM = (0.0, 0.5, 0.75, 1.0)  # shares of the limit at which each of these begins
FASTER_UNDER = 0.8  # of that share, where it ends
UNKNOWN = "Unknown"
REASONS = {
    REPLAY_LAG: "ReplayLag",
    OLDEST_XMIN: "OldestXmin",
    LOCK_WAITS: "LockWaits",
    VACUUM: "Vacuum",
    QUERY: "Query",
}
_NAMES = {
    REPLAY_LAG: "replay lag",
    OLDEST_XMIN: "oldest transaction",
    LOCK_WAITS: "sessions that wait for locks:",
    QUERY: "health.query:",
}
_SECONDS = frozenset({REPLAY_LAG, OLDEST_XMIN})


@dataclass(frozen=True, slots=True)
class Aged:
    """A sample and its age in seconds."""

    sample: Sample
    age: float


@dataclass(frozen=True, slots=True)
class Decision:
    """``reason`` and ``message`` say why; empty at full speed."""

    factor: float
    reason: str = ""
    message: str = ""
    value: str = ""
    limit: str = ""

    @property
    def throttle(self) -> Throttle | None:
        return Throttle(self.factor, self.value, self.limit) if self.reason else None


class HealthLevel:
    """The decision for the next second, from the latest samples and the step before."""

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}  # by signal

    def decide(self, limits: HealthLimits, samples: Mapping[str, Aged], table: int, problem: str = "") -> Decision:
        """``samples``: by the query that they are of, "" for the other signals. ``problem``: why a sample is missing."""
        values, unknown = _values(limits, samples, table, problem)
        limit_of = limits.by_signal
        self._steps = {name: _step(self._steps.get(name, 0), value / limit_of[name]) for name, value in values.items()}
        slowest = max(self._steps, key=lambda name: self._steps[name], default=None)
        step = self._steps[slowest] if slowest is not None else 0
        if unknown and (not limits.continue_when_unknown or not step):
            return _unknown(unknown, 1.0 if limits.continue_when_unknown else 0.0)
        if slowest is None or not step:
            return Decision(1.0)
        return _describe(slowest, step, values[slowest], limit_of[slowest])


def _values(
    limits: HealthLimits, samples: Mapping[str, Aged], table: int, problem: str
) -> tuple[dict[str, float], str]:
    """The known value of each signal that has a limit, and why others are unknown."""
    values: dict[str, float] = {}
    unknown = ""
    for name in limits.by_signal:
        found = samples.get(limits.query if name == QUERY else "")
        if found is None or found.age > MAX_AGE:
            late = "it was not measured yet" if found is None else f"it was last measured {found.age:.0f} s ago"
            unknown = unknown or problem or late
            continue
        value = found.sample.values.get(name, None if name != VACUUM else float(table in found.sample.vacuumed))
        if value is None:
            unknown = unknown or f"{name}: {found.sample.problem or 'it has no value'}"
        else:
            values[name] = value
    return values, unknown


def _step(before: int, share: float) -> int:
    needed = max(step for step, begin in enumerate(SLOWER_FROM) if share >= begin) if share > 0 else 0
    if needed >= before:
        return needed
    return before - 1 if share < FASTER_UNDER * SLOWER_FROM[before] else before


def _unknown(why: str, factor: float) -> Decision:
    head = "paused: the health of the database is unknown" if not factor else "the health of the database is unknown"
    return Decision(factor, UNKNOWN, f"{head}: {why}")


def _describe(name: str, step: int, value: float, limit: float) -> Decision:
    factor, reason = FACTORS[step], REASONS[name]
    head = f"slowed to {factor:.0%}" if factor else "paused"
    if name == VACUUM:
        return Decision(factor, reason, f"{head}: an autovacuum works on the table")
    shown, most = _text(name, value), _text(name, limit)
    text = f"{head}: {_NAMES[name]} {shown}"
    begin = SLOWER_FROM[step] * limit
    if value >= limit:
        text += f" > {most}" if value > limit else f", the limit is {most}"
    elif value >= begin:
        text += f" of at most {most}"
    else:
        text += f", faster under {_text(name, FASTER_UNDER * begin)}"
    return Decision(factor, reason, text, shown, most)


def _text(name: str, value: float) -> str:
    if name in _SECONDS:
        return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"
    return f"{value:g}" if math.isfinite(value) else str(value)
