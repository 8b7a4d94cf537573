"""How fast a sweep may go, decided from samples of its database's health. Pure.

From half of a limit on the sweep is slower, at the limit it is paused. Sessions of the application never pause it: they are no problem
yet. It becomes slower at once and faster one step a sample, and only once the signal is clearly under the value at which the step
began (hysteresis): a signal that the sweep itself raises would otherwise make it start and stop each second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from kubesweep.queue.model import (
    ACTIVE,
    ACTIVE_SESSIONS,
    LOCK_WAITS,
    OLDEST_XMIN,
    QUERY,
    REPLAY_LAG,
    VACUUM,
    HealthLimits,
    Sample,
    Signal,
    Throttle,
)

MAX_AGE = 5.0  # seconds after which a sample says nothing any more
FACTORS = (1.0, 0.5, 0.25, 0.1, 0.0)  # of the full speed
SLOWER_FROM = (0.5, 0.75, 0.9, 1.0)  # shares of the limit at which each of these begins, except the first
FASTER_UNDER = 0.8  # of that share, where it ends
UNKNOWN = "Unknown"
REASONS = {
    REPLAY_LAG: "ReplayLag",
    OLDEST_XMIN: "OldestXmin",
    LOCK_WAITS: "LockWaits",
    VACUUM: "Vacuum",
    QUERY: "Query",
    ACTIVE: ACTIVE_SESSIONS,
}
_NAMES = {
    REPLAY_LAG: "replay lag",
    OLDEST_XMIN: "oldest transaction",
    LOCK_WAITS: "sessions that wait for locks:",
    QUERY: "health.query:",
}
MOST_SHARE = SLOWER_FROM[-2]  # of a limit, for a signal that pauses no sweep
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
    yields: bool = False  # other sessions use the database, whichever signal is the worst

    @property
    def throttle(self) -> Throttle | None:
        return Throttle(self.factor, self.value, self.limit) if self.reason else None


class HealthLevel:
    """The decision for the next second, from the latest samples and the step before."""

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}  # by signal
        self._signals: tuple[Signal, ...] = ()
        self._since: dict[str, tuple[float, float]] = {}  # by signal: the factor, and since when
        self._asked = -math.inf

    def decide(self, limits: HealthLimits, samples: Mapping[str, Aged], table: int, problem: str = "") -> Decision:
        """``samples``: by the query that they are of, "" for the other signals. ``problem``: why a sample is missing."""
        limit_of = _limits(limits, samples)
        values, unknown = _values(limits.query, limit_of, samples, table, problem)
        shares = {name: _share(name, value, limit_of[name]) for name, value in values.items()}
        self._steps = {name: _step(self._steps.get(name, 0), share) for name, share in shares.items()}
        lost = 1.0 if limits.continue_when_unknown else 0.0
        self._signals = tuple(_signal(name, limit_of[name], values.get(name), self._steps, lost) for name in limit_of)
        slowest = max(self._steps, key=lambda name: self._steps[name], default="")
        step = self._steps.get(slowest, 0)
        if unknown and (not limits.continue_when_unknown or not step):
            return _unknown(unknown, lost)
        if not step:
            return Decision(1.0)
        decision = _describe(slowest, step, values[slowest], limit_of[slowest])
        return replace(decision, yields=self._steps.get(ACTIVE, 0) > 0)

    def signals(self, now: float) -> tuple[Signal, ...]:
        """What the latest decision compared. ``now``: the seconds of any clock that does not go back."""
        if now - self._asked > MAX_AGE:  # nothing was measured meanwhile
            self._since.clear()
        self._asked = now
        for each in self._signals:
            if self._since.get(each.name, (None,))[0] != each.factor:
                self._since[each.name] = each.factor, now
        return tuple(msgspec.structs.replace(each, seconds=now - self._since[each.name][1]) for each in self._signals)


def _limits(limits: HealthLimits, samples: Mapping[str, Aged]) -> dict[str, float]:
    """By signal. A sample that a worker of an older version measured does not have ACTIVE."""
    old = "" in samples and ACTIVE not in samples[""].sample.values
    return {name: limit for name, limit in limits.by_signal.items() if name != ACTIVE or not old}


def _values(
    query: str, limit_of: Mapping[str, float], samples: Mapping[str, Aged], table: int, problem: str
) -> tuple[dict[str, float], str]:
    """The known value of each signal that has a limit, and why others are unknown."""
    values: dict[str, float] = {}
    unknown = ""
    for name in limit_of:
        found = samples.get(query if name == QUERY else "")
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


def _share(name: str, value: float, limit: float) -> float:
    """The value as a share of its limit, as far as the signal slows the sweep down."""
    return min(value / limit, MOST_SHARE) if name == ACTIVE else value / limit


def _step(before: int, share: float) -> int:
    needed = sum(share >= begin for begin in SLOWER_FROM)
    if needed >= before:
        return needed
    return before - 1 if share < FASTER_UNDER * SLOWER_FROM[before - 1] else before


def _signal(name: str, limit: float, value: float | None, steps: Mapping[str, int], lost: float) -> Signal:
    """``lost``: the factor where the value is unknown."""
    most = "running" if name == VACUUM else _text(name, limit)
    if value is None:
        return Signal(name, most, factor=lost)
    shown = _text(name, value) if name != VACUUM else "running" if value else "not running"
    return Signal(name, most, shown, FACTORS[steps[name]])


def _unknown(why: str, factor: float) -> Decision:
    head = "paused: the health of the database is unknown" if not factor else "the health of the database is unknown"
    return Decision(factor, UNKNOWN, f"{head}: {why}")


def _describe(name: str, step: int, value: float, limit: float) -> Decision:
    factor, reason = FACTORS[step], REASONS[name]
    head = f"slowed to {factor:.0%}" if factor else "paused"
    if name == VACUUM:
        return Decision(factor, reason, f"{head}: an autovacuum works on the table")
    shown, most = _text(name, value), _text(name, limit)
    if name == ACTIVE:
        users = (
            f"{shown} other session{'s use' if value != 1 else ' uses'}" if value else "until a moment ago others used"
        )
        return Decision(factor, reason, f"{head}: {users} the database", shown)  # no number of them pauses it
    text = f"{head}: {_NAMES[name]} {shown}"
    begin = SLOWER_FROM[step - 1] * limit
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
