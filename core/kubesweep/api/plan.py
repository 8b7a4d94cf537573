"""Plan: an immutable SweepSchedule with every default filled in and every duration in seconds.

The plan is all that a worker gets. It is passed as JSON (in a cluster, an environment variable) and has no password and no
URL. Its version is a hash, ``Plan.version``. Each job has the hash of its plan, so that no worker runs a job of another plan.
Fields that only tune the speed (``TUNING``) are not in the hash.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from kubesweep.queue.model import BATCH_TIME, LOCAL, HealthLimits, Limits, Pace, PlanVersion, ScheduleRef
from kubesweep.text import unexpandable

FORMAT = 1
BURST = 25.0  # most calls of an effect that an unused rowsPerSecond saves up, limited to those of one second


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a plan. A worker refuses a plan with unknown fields, because they could limit which rows match."""


P = TypeVar("P", bound=_Part)


class Match(_Part, frozen=True):
    """One condition; all are ANDed. ``op`` says which of the other fields is used."""

    op: Literal["in", "before", "isNull", "sql", "notIn", "after", "lessThan", "greaterThan"]
    column: str = ""  # empty for sql
    values: tuple[str, ...] = ()  # in and notIn; lessThan and greaterThan have one
    offset: float = 0.0  # before and after: seconds before the cutoff
    is_null: bool = True  # isNull
    sql: str = ""
    unit: str = (
        ""  # before and after: seconds, milliseconds or microseconds since the epoch; empty: the column is a time
    )


class Session(_Part, frozen=True, kw_only=True):
    """PostgreSQL settings for the user's SQL, triggers and defaults. None: those of the database user."""

    time_zone: str | None = None
    date_style: str | None = None
    interval_style: str | None = None
    search_path: tuple[str, ...] = ()  # empty: that of the database user


class Source(_Part, frozen=True, kw_only=True):
    table: str
    schema: str | None = None  # None: SQLite, or the search path's first
    key: tuple[str, ...] = ()  # empty: the primary key
    lock_timeout: float = 0.3
    statement_timeout: float = 30.0
    naive_time_zone: str | None = None  # of time columns without a zone; None: not given, so UTC
    session: Session = Session()
    health: HealthLimits | None = None

    @property
    def zone(self) -> str:
        return self.naive_time_zone or "UTC"


class Webhook(_Part, frozen=True):
    url: str
    timeout: float = 10.0
    headers_secret: str | None = None  # name of the Secret whose entries are headers
    batch_rows: int = 1  # most rows of one request; with 1 the body is one row, otherwise a list
    sign_with: str | None = None  # "name/key" of the Secret's entry with the signing secrets


class Effect(_Part, frozen=True, kw_only=True):
    columns: tuple[str, ...] = ()  # empty: key and match columns
    # Identify one occasion on which the row is stale; empty: the columns of ``before`` conditions.
    key: tuple[str, ...] = ()
    concurrency: int = 20
    timeout: float = 30.0  # longest that one handler call may take
    webhook: Webhook | None = None
    handler: str | None = None  # "package.module:function"


class Assignment(_Part, frozen=True):
    column: str
    value: str | None = None
    sql: str | None = None


class Archive(_Part, frozen=True):
    table: str
    schema: str | None = None
    lossy: bool = False  # accept types that lose a part of a value


class Write(_Part, frozen=True):
    update: tuple[Assignment, ...] = ()  # empty: delete
    archive: Archive | None = None
    children: bool = False  # rows of other tables may be deleted, or changed, along with a deleted one

    @property
    def deletes(self) -> bool:
        return not self.update


class RowLimits(_Part, frozen=True, kw_only=True):
    batch_rows: int = 1000
    batch_time: float = BATCH_TIME  # aim for one batch
    rows_per_second: float | None = None
    max_rows_per_sweep: int | None = None
    approve_above_rows: int | None = None
    approve_above_share: int | None = None  # per cent of the table's rows
    approve_above_times_median: int | None = None

    @property
    def has_approval_bounds(self) -> bool:
        """True where a sweep may have to await approval because of what it finds."""
        bounds = (self.approve_above_rows, self.approve_above_share, self.approve_above_times_median)
        return any(bound is not None for bound in bounds)


class RetryPolicy(_Part, frozen=True, kw_only=True):
    max_attempts: int = 5
    backoff: float = 2.0
    max_backoff: float = 300.0


class Plan(_Part, frozen=True, kw_only=True, dict=True):  # dict: for cached_property
    """One schedule, compiled.

    Its defaults, and those of its parts, are not the ones that users get: api/compile.py sets every field from the spec, whose
    defaults stand in api/models. These serve tests, and ``_lean`` leaves equal values out of the hash.
    """

    namespace: str
    name: str
    uid: str
    source: Source
    match: tuple[Match, ...]
    format: int = FORMAT
    install: str = LOCAL
    generation: int = 0
    mode: Literal["Enforce", "DryRun"] = "Enforce"
    effect: Effect | None = None
    write: Write | None = None
    limits: RowLimits = RowLimits()
    retry: RetryPolicy = RetryPolicy()
    retention: float = 7 * 86400.0
    halt_above: int = 1000
    concurrency: int = 2  # concurrent jobs in one worker
    max_replicas: int = 4
    jobs_per_replica: int = 10

    @property
    def ref(self) -> ScheduleRef:
        return ScheduleRef(self.install, self.namespace, self.name, self.uid)

    @functools.cached_property  # needed for each planned job; the hash takes half a millisecond
    def version(self) -> PlanVersion:
        """The generation and the hash of this plan.

        The hash covers which rows match and what happens to them, without the fields of ``TUNING``. A sweep continues after an
        edit that does not change the hash.
        """
        # Encoded and decoded first, so that 5 and 5.0 in a float field have the same hash.
        plain = type(self).from_json(_without(self, TUNING).to_json())
        body = msgspec.json.encode(_lean(plain), order="sorted")
        return PlanVersion(self.generation, hashlib.sha256(body).hexdigest()[:16])

    def runs_as(self, other: Plan) -> bool:
        """True where a worker behaves the same with both plans: only their generations and their pace differ."""
        return self._without_pace() == other._without_pace()

    def _without_pace(self) -> Plan:
        return _without(msgspec.structs.replace(self, generation=0), PACE)

    @property
    def pace(self) -> Pace:
        """The pace until the queue has one."""
        return self.throttled("")

    def throttled(self, throttle: str) -> Pace:
        """The pace with what a person set beside the plan. Raises SpecError, see :class:`Pace`."""
        return Pace.of(self.limits.rows_per_second, throttle, self.limits.batch_time, self.source.health)

    def at(self, pace: Pace) -> Plan:
        """The plan as workers execute it at this pace; 0 rows per second: no row is started."""
        limits = msgspec.structs.replace(self.limits, rows_per_second=pace.rate, batch_time=pace.batch_time)
        return msgspec.structs.replace(self, limits=limits)

    @property
    def queue_limits(self) -> Limits:
        rate = self.limits.rows_per_second or None  # a queue that claims nothing is paused instead
        # Only receivers need a limit for bursts. For a table, saved rows only keep the rate of batches.
        burst = None if rate is None or self.effect is None else min(rate, BURST)
        # A failing write affects no receiver, so the other rows are tried before the sweep Halts.
        return Limits(rows_per_second=rate, burst=burst, halt_above=self.halt_above, halt_at_end=self.effect is None)

    @property
    def dry_run(self) -> bool:
        return self.mode == "DryRun"

    @property
    def window_jobs(self) -> int:
        """Jobs of one window: twice as many as all workers together take."""
        return 2 * self.max_replicas * self.jobs_per_replica

    def to_json(self) -> str:
        return unexpandable(msgspec.json.encode(_lean(self)).decode())

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Raises ``msgspec.DecodeError`` where the text is not a plan of this version's shape."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (
            UnicodeDecodeError,
            UnicodeEncodeError,
        ) as error:  # bytes that are no text, as they are in an environment variable
            raise msgspec.DecodeError(f"it is not UTF-8 text ({error.reason})") from None


# Fields outside of the hash: speed, sizes and time limits. Jobs from before an edit of one of them stay valid, and workers with
# both values may run at the same time. All other fields decide which rows a job touches or what happens to them; docs/concepts.md
# has the table.
TUNING: Mapping[type[_Part], frozenset[str]] = {
    Source: frozenset({"lock_timeout", "statement_timeout", "health"}),
    Webhook: frozenset({"timeout"}),
    Effect: frozenset({"concurrency", "timeout"}),
    RowLimits: frozenset({"batch_rows", "batch_time", "rows_per_second"}),
    Plan: frozenset({"generation", "concurrency", "max_replicas", "jobs_per_replica", "halt_above", "retention"}),
}

# Fields that the controller also writes to the queue, from where running workers read them (queue/model/pace.py). An edit of them alone
# restarts no worker.
PACE: Mapping[type[_Part], frozenset[str]] = {
    Source: frozenset({"health"}),
    RowLimits: frozenset({"batch_time", "rows_per_second"}),
}


@functools.cache  # fields() resolves the annotations at each call, which is slow
def _fields(kind: type[_Part]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _without(part: P, fields: Mapping[type[_Part], frozenset[str]]) -> P:
    """The part with each of these fields at its default, which :func:`_lean` leaves out."""
    left_out = next((names for kind, names in fields.items() if isinstance(part, kind)), frozenset[str]())
    values: dict[str, Any] = {}
    for each in _fields(type(part)):
        value = getattr(part, each.name)
        if each.name in left_out:
            values[each.name] = each.default
        elif isinstance(value, _Part):
            values[each.name] = _without(value, fields)
    return msgspec.structs.replace(part, **values)


def _lean(part: _Part) -> dict[str, Any]:
    """The part without default values, so that a field added by a later version does not change existing hashes."""
    lean: dict[str, Any] = {"format": part.format} if isinstance(part, Plan) else {}
    for each in _fields(type(part)):
        value = getattr(part, each.name)
        if value != each.default:
            lean[each.name] = _plain(value)
    return lean


def _plain(value: Any) -> Any:
    if isinstance(value, _Part):
        return _lean(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
