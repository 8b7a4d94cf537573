"""The health of a database: what is measured, the limits of a schedule, and what follows from them.

Workers share measurements (``Sample``) through the queue, so that one of them measures for all. Each compares them with the limits of its
own schedule.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kubesweep.queue.model.identity import reader

# Names of the signals, as they are in the spec.
REPLAY_LAG, OLDEST_XMIN, LOCK_WAITS, VACUUM, QUERY = "replayLag", "oldestXmin", "lockWaits", "pauseOnVacuum", "query"
ACTIVE = "activeSessions"  # of ``auto`` only
ACTIVE_SESSIONS = (
    "ActiveSessions"  # the reason while it slows a sweep down: the usual state beside an application, and no problem
)


class HealthLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """``spec.source.health``. None: the signal is not used."""

    replay_lag: float | None = None  # seconds
    oldest_xmin: float | None = None  # seconds
    lock_waits: float | None = None  # sessions
    pause_on_vacuum: bool = False
    query: str = ""  # an SQL expression with one number as its value; empty: none
    query_limit: float | None = None
    continue_when_unknown: bool = False
    yields: bool = False  # also slower while other sessions use the database

    @property
    def by_signal(self) -> Mapping[str, float]:
        """The limit of each signal that is used. The value of VACUUM is 0 or 1."""
        limits = {
            REPLAY_LAG: self.replay_lag,
            OLDEST_XMIN: self.oldest_xmin,
            LOCK_WAITS: self.lock_waits,
            QUERY: self.query_limit,
            VACUUM: 1.0 if self.pause_on_vacuum else None,
            ACTIVE: 1.0 if self.yields else None,
        }
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def queries(self) -> tuple[str, ...]:
        """What is measured: "" for all signals but the user's query."""
        signals = self.by_signal.keys() - {QUERY}
        return (*([""] if signals else []), *([self.query] if self.query else []))


class Sample(msgspec.Struct, frozen=True):
    """One measurement of a database. ``values``: by signal; None: this user may not read it, or the query has no number. The one of
    VACUUM is in ``vacuumed``, unless this user may not read it."""

    values: dict[str, float | None]
    vacuumed: tuple[int, ...] = ()  # oids of tables, and of what they are parts of, on which an autovacuum runs
    problem: str = ""  # why a value is None


class SharedSample(msgspec.Struct, frozen=True):
    """The answer of ``share_sample``. ``age`` in seconds. ``measure``: it is the caller's turn to measure."""

    sample: Sample | None
    age: float
    measure: bool


class Throttle(msgspec.Struct, frozen=True):
    """How much a signal slows a sweep down. ``value`` and ``limit`` are texts with units, for people."""

    factor: float  # of the full speed; 0: paused
    value: str
    limit: str


class Signal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal as a worker compared it last. ``value`` and ``limit`` are texts with units, for people."""

    name: str
    limit: str  # from which it pauses the sweep
    value: str = ""  # empty: unknown
    factor: float = 1.0  # of the full speed, which this signal allows
    seconds: float = 0.0  # for which it has allowed that, as far as the worker measured it


parse_sample = reader(Sample)
