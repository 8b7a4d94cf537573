"""SweepSchedule: the object that users write. Every field has its unit, bounds and default.

A model is valid in itself. What only the database or the receiver can show (a missing column, a wrong password) is found
later. The other parts of the spec are in source.py, actions.py and worker.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from kubesweep.api.models import cel
from kubesweep.api.models.actions import Effect, Write
from kubesweep.api.models.source import Match, Source
from kubesweep.api.models.types import (
    Duration,
    FreeList,
    Model,
    Namespace,
    ObjectName,
    ScheduleName,
    Uid,
    Value,
    exactly_one,
    known_zone,
    refuse,
)
from kubesweep.api.models.worker import Env, PodTemplate, Resources, Tick, Worker
from kubesweep.durations import parse_duration
from kubesweep.queue.model import MAX_RATE
from kubesweep.ticks import MAX_CRON_LENGTH, Cron, Ticks, make_ticks

__all__ = [
    "API_VERSION",
    "KIND",
    "DeadLetters",
    "Env",
    "ObjectMeta",
    "PodTemplate",
    "Resources",
    "Retry",
    "RowLimits",
    "ScheduleMeta",
    "Spec",
    "SweepSchedule",
    "Tick",
    "Worker",
]

API_VERSION = "kubesweep.dev/v1alpha1"
KIND = "SweepSchedule"
Labels = Annotated[dict[str, Value], Field(max_length=256)]


class ObjectMeta(Model):
    """Metadata of an object, as ``kubectl get -o yaml`` prints it. Only a few fields are used."""

    name: ObjectName = Field(description="Name of the object.")
    namespace: Namespace = Field("default", description="Namespace of the object.")
    labels: Labels | None = Field(None, description="Labels of the object.")
    annotations: dict[str, str] | None = Field(None, max_length=256, description="Annotations of the object.")
    uid: Uid | None = Field(
        None, description="Identity that the API server assigned; in a file it is derived from the name."
    )
    generation: int = Field(0, ge=0, description="Version number of the spec that the API server assigned.")
    resource_version: str | None = Field(None, max_length=64, description="Set by the API server; ignored.")
    creation_timestamp: str | None = Field(None, max_length=64, description="Set by the API server; ignored.")
    deletion_timestamp: str | None = Field(None, max_length=64, description="Set by the API server; ignored.")
    deletion_grace_period_seconds: int | None = Field(None, description="Set by the API server; ignored.")
    self_link: str | None = Field(None, max_length=2048, description="Set by the API server; ignored.")
    finalizers: list[str] | None = Field(None, max_length=64, description="Ignored.")
    owner_references: FreeList | None = Field(None, description="Ignored.")
    managed_fields: FreeList | None = Field(None, description="Set by the API server; ignored.")


class ScheduleMeta(ObjectMeta):
    """Metadata of a SweepSchedule. Its name is limited because the names of its CronJob and Deployment are made from it."""

    name: ScheduleName = Field(description="A DNS label of at most 45 characters.")


_NO_BOUND = "needs at least one of rows, share, timesMedian; none is given"


class ApproveAbove(Model):
    """When a sweep waits for approval before it touches a row.

    With any of these bounds, a first sweep after the conditions changed and a first sweep of another database wait too.
    """

    model_config = cel.checked(
        cel.missing("has(self.rows) || has(self.share) || has(self.timesMedian)", _NO_BOUND, at="rows")
    )

    rows: int | None = Field(
        None, ge=0, le=10**12, description="A sweep that finds more stale rows than this waits for approval."
    )
    share: int | None = Field(
        None,
        ge=1,
        le=100,
        description="A sweep that finds more than this percentage of the table's rows stale waits for approval (1 to 100).",
    )
    times_median: int | None = Field(
        None,
        ge=2,
        le=1000,
        description="A sweep that finds more stale rows than this many times the median of the last completed sweeps waits for approval (2 to 1000). Says nothing before three of them, and a median below 100 rows counts as 100.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.rows is None and self.share is None and self.times_median is None:
            raise refuse("NoneOf", _NO_BOUND)
        return self


class RowLimits(Model):
    """Limits of the number of rows."""

    batch_rows: int = Field(
        1000, ge=1, le=10_000, description="Most rows of one job and of one transaction (1 to 10000)."
    )
    batch_time: Annotated[str, Duration("10ms", "30s")] = Field(
        "200ms",
        description="How long one transaction should take; where it takes longer, the next ones have fewer rows (10ms to 30s).",
    )
    rows_per_second: int | None = Field(
        None,
        ge=1,
        le=MAX_RATE,
        description="Rows a second of all workers together: calls of the effect, retries too, or rows written where there is none; default no limit.",
    )
    max_rows_per_sweep: int | None = Field(
        None,
        ge=1,
        le=10**12,
        description="Most rows that one sweep plans; the others wait for the next tick. Default: all.",
    )
    approve_above: ApproveAbove | None = Field(
        None, description="Which sweeps need approval before they touch a row; default none."
    )


class Retry(Model):
    """What happens to a row that fails."""

    model_config = cel.checked(
        cel.forbidden(
            cel.at_most("self.backoff", "self.maxBackoff"), "must not be longer than maxBackoff", at="backoff"
        )
    )

    max_attempts: int = Field(5, ge=1, le=20, description="Attempts before a row becomes a dead letter (1 to 20).")
    backoff: Annotated[str, Duration("100ms", "1h")] = Field(
        "2s",
        description="Wait before the second attempt, doubled for each later one; each wait is shortened at random by up to a half (100ms to 1h).",
    )
    max_backoff: Annotated[str, Duration("100ms", "24h")] = Field(
        "5m",
        description="Longest wait between two attempts (100ms to 24h). A row with its own delay (Retry-After) waits for that, at most a day.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if parse_duration(self.backoff) > parse_duration(self.max_backoff):
            raise refuse("OutOfOrder", f"backoff {self.backoff} is longer than maxBackoff {self.max_backoff}")
        return self


class DeadLetters(Model):
    """What happens to rows that used up their attempts."""

    retention: Annotated[str, Duration("1m", "365d")] = Field(
        "168h", description="How long a dead letter is kept; then its row is eligible again (1m to 365d)."
    )
    halt_above: int = Field(
        1000, ge=1, le=10_000, description="Rows in retry or dead above which the sweep Halts (1 to 10000)."
    )


_NO_WRITE = "only a handler may leave it out (and must change the row itself)"
_CRON_RULES = cel.schema(
    cel.rule("!self.upperAscii().contains('TZ=')", "a zone inside the expression is refused: use timeZone"),
    cel.rule("!self.startsWith('@every')", 'use every, such as every: "30s"'),
    cel.rule(
        cel.matches(r"^(@.*|\s*\S+(\s+\S+){4}\s*|(?i:.*TZ=.*))$"),
        "needs 5 fields (minute hour day-of-month month day-of-week); seconds are not supported: use every",
    ),
)


class Spec(Model):
    """When to sweep, which rows, and what happens to them."""

    model_config = cel.checked(
        *cel.one_of("schedule", "every"),
        cel.missing("has(self.write) || (has(self.effect) && has(self.effect.handler))", _NO_WRITE, at="write"),
    )

    schedule: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_CRON_LENGTH,
        json_schema_extra=_CRON_RULES,
        description='Five-field cron expression such as "*/5 * * * *", or @hourly, @daily, @weekly, @monthly, @yearly.',
    )
    every: Annotated[str, Duration("5s", "24h")] | None = Field(
        None, description="Fire at each multiple of this period since the epoch (5s to 24h)."
    )
    time_zone: str = Field("Etc/UTC", min_length=1, max_length=64, description="IANA zone of the cron expression.")
    starting_deadline_seconds: int | None = Field(
        None, ge=10, le=604_800, description="Seconds after which a late tick is Missed (10 to 604800); default never."
    )
    suspend: bool = Field(False, description="true: fire no tick and stop the workers.")
    mode: Literal["Enforce", "DryRun"] = Field("Enforce", description="DryRun counts and samples, and changes nothing.")
    source: Source = Field(description="The table to sweep.")
    match: list[Match] = Field(
        min_length=1, max_length=16, description="Conditions (1 to 16), all of which a row must meet."
    )
    effect: Effect | None = Field(None, description="What happens for each row before it is written, at least once.")
    write: Write | None = Field(
        None, description="What happens to the row in the database; may be missing only with a handler."
    )
    limits: RowLimits = Field(default_factory=RowLimits, description="Limits of the number of rows.")
    retry: Retry = Field(default_factory=Retry, description="What happens to a row that fails.")
    dead_letters: DeadLetters = Field(
        default_factory=DeadLetters, description="What happens to rows that keep failing."
    )
    worker: Worker = Field(default_factory=Worker, description="The pods that do the work.")
    tick: Tick | None = Field(None, description="The pods that start sweeps.")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        return known_zone(name)

    @field_validator("schedule")
    @classmethod
    def _readable_cron(cls, expression: str | None) -> str | None:
        try:
            if expression is not None:
                Cron(expression)
        except ValueError as error:
            raise refuse("BadCron", str(error)) from None
        return expression

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        exactly_one(self, "schedule", "every")
        if self.write is None and (self.effect is None or self.effect.handler is None):
            raise refuse("WriteMissing", f"write is missing: {_NO_WRITE}")
        return self

    @property
    def ticks(self) -> Ticks:
        every = parse_duration(self.every) if self.every else None
        return make_ticks(schedule=self.schedule, every=every, time_zone=self.time_zone)


class SweepSchedule(Model):
    """Which rows become stale, when to sweep them, and what happens to each."""

    api_version: Literal["kubesweep.dev/v1alpha1"] = Field(description="Version of this format.")
    kind: Literal["SweepSchedule"] = Field(description="Always SweepSchedule.")
    metadata: ScheduleMeta = Field(description="Name and namespace.")
    spec: Spec = Field(description="When to sweep, which rows, and what happens to them.")
    status: dict[str, Any] | None = Field(None, description="Written by the controller; ignored in a file.")
