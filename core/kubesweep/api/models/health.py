"""spec.source.health: signals of a PostgreSQL database that slow its sweeps down."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kubesweep.api.models import cel
from kubesweep.api.models.types import Duration, Model, Sql, refuse
from kubesweep.durations import parse_duration
from kubesweep.queue.model import HealthLimits

AUTO = HealthLimits(replay_lag=2.0, oldest_xmin=600.0, lock_waits=5.0, yields=True)
_SIGNALS = ("replayLag", "oldestXmin", "lockWaits", "query")
_NONE = "uses no signal: set auto: true, or a limit for at least one of replayLag, oldestXmin, lockWaits, pauseOnVacuum and query"


class HealthQuery(Model):
    """A number of your own, such as the length of a queue of the application."""

    sql: Sql = Field(description="An SQL expression or one SELECT whose value is a number, at most 4096 characters.")
    limit: int = Field(ge=1, le=10**12, description="The number at which the sweep pauses.")


class Health(Model):
    """Signals that slow the sweep down from half of their limit on, and pause it at the limit. PostgreSQL only.

    Workers measure them about once a second. The signals need the role pg_monitor, which `kubesweep check` tells.
    """

    model_config = cel.checked(
        cel.missing(
            " || ".join(
                (
                    "(has(self.auto) && self.auto)",
                    "(has(self.pauseOnVacuum) && self.pauseOnVacuum)",
                    *map(cel.has, _SIGNALS),
                )
            ),
            _NONE,
            at="auto",
        )
    )

    auto: bool = Field(
        False,
        description="true: replayLag 2s, oldestXmin 10m and lockWaits 5, unless they are set here, and a tenth of the speed while other sessions use the database, unless the sweep has an effect.",
    )
    replay_lag: Annotated[str, Duration("100ms", "1h")] | None = Field(
        None, description="How far the slowest standby that is connected may be behind (100ms to 1h)."
    )
    oldest_xmin: Annotated[str, Duration("1s", "24h")] | None = Field(
        None,
        description="How long a transaction may keep VACUUM from removing dead rows of this database (1s to 24h).",
    )
    lock_waits: int | None = Field(
        None, ge=1, le=100_000, description="Sessions of this database that wait for a lock, without those of sweeps."
    )
    pause_on_vacuum: bool = Field(False, description="true: pause while an autovacuum works on the table.")
    query: HealthQuery | None = Field(None, description="A number of your own and its limit.")
    when_unknown: Literal["Pause", "Continue"] = Field(
        "Pause", description="What happens while a signal was not measured for 5 seconds, or cannot be read."
    )

    @model_validator(mode="before")
    @classmethod
    def _a_map(cls, given: Any) -> Any:
        if given == "auto" or given is True:
            raise refuse("HealthShorthand", "write health: {auto: true}")
        return given

    @model_validator(mode="after")
    def _any_signal(self) -> Self:
        numbers = (self.replay_lag, self.oldest_xmin, self.lock_waits, self.query)
        if not self.auto and not self.pause_on_vacuum and all(each is None for each in numbers):
            raise refuse("NoSignal", _NONE)
        return self

    @property
    def limits(self) -> HealthLimits:
        auto = AUTO if self.auto else HealthLimits()
        return HealthLimits(
            replay_lag=parse_duration(self.replay_lag) if self.replay_lag else auto.replay_lag,
            oldest_xmin=parse_duration(self.oldest_xmin) if self.oldest_xmin else auto.oldest_xmin,
            lock_waits=float(self.lock_waits) if self.lock_waits else auto.lock_waits,
            pause_on_vacuum=self.pause_on_vacuum,
            query=self.query.sql if self.query else "",
            query_limit=float(self.query.limit) if self.query else None,
            continue_when_unknown=self.when_unknown == "Continue",
            yields=auto.yields,
        )
