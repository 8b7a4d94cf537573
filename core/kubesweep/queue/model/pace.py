"""What may change while a sweep runs, without a new plan: how fast its workers go, and how long a batch takes."""

from __future__ import annotations

import math
import re

import msgspec

from kubesweep.errors import SpecError
from kubesweep.queue.model.health import HealthLimits
from kubesweep.queue.model.identity import reader

PAUSE, OFF = "pause", "off"
MAX_RATE = 1_000_000  # rows per second
BATCH_TIME = 0.2  # seconds; where the spec says nothing else
_RATE = re.compile(r"[0-9]{1,7}(\.[0-9]{1,6})?")


class Pace(msgspec.Struct, frozen=True, omit_defaults=True):
    """The controller, or a person at a terminal, writes it where workers can only read it. It replaces the values of the plan."""

    rows_per_second: float | None = None  # limits.rowsPerSecond
    throttle: str = ""  # what a person set beside it: rows per second, "pause" or "off"; empty: nothing
    # What the queue and the workers enforce: rows per second of all workers; None: no limit; 0: no row is started.
    rate: float | None = None
    batch_time: float = BATCH_TIME  # limits.batchTime, in seconds
    health: HealthLimits | None = None  # source.health

    @classmethod
    def of(
        cls,
        rows_per_second: float | None,
        throttle: str = "",
        batch_time: float = BATCH_TIME,
        health: HealthLimits | None = None,
    ) -> Pace:
        """Raises SpecError (BadThrottle) for a ``throttle`` that is neither a rate nor ``pause`` nor ``off``."""
        return cls(rows_per_second, throttle, _rate(throttle) if throttle else rows_per_second, batch_time, health)

    @property
    def enforced_health(self) -> HealthLimits | None:
        """With ``off`` a person has decided that the sweep goes on in any case."""
        return None if self.throttle == OFF else self.health

    @property
    def paused(self) -> bool:
        return self.rate == 0


def _rate(throttle: str) -> float | None:
    if throttle in (PAUSE, OFF):
        return 0.0 if throttle == PAUSE else None
    rate = float(throttle) if _RATE.fullmatch(throttle) else math.nan
    if not 0 < rate <= MAX_RATE:
        raise SpecError(
            "BadThrottle",
            f"the throttle is {throttle[:64]!r}: write rows per second (more than 0, at most {MAX_RATE}), {PAUSE} or {OFF}",
        )
    return rate


def describe_rate(rate: float | None) -> str:
    if rate is None:
        return "not limited"
    return f"{rate:g} rows per second" if rate else "0: no row is started"


parse_pace = reader(Pace)
