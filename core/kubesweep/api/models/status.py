"""The status of a SweepSchedule, which the controller writes and people read with ``kubectl describe``.

- The controller does not depend on it: a lost status is written again.
- It has keys, never row data, and timestamps, never durations, so an unchanged status is not written.
- Reasons and states are texts, not enums: an older schema in the cluster must accept the status of a newer controller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from kubesweep.api.models.types import Checked, Model, refuse
from kubesweep.queue.model import HISTORY, LONGEST_DATABASE, MAX_SAMPLES, SweepState
from kubesweep.text import MAX_TEXT

MAX_CONDITIONS = 16
MAX_ERROR_GROUPS = 20
MAX_SAMPLE_KEYS = 3
MAX_SIGNALS = 8
MAX_ANSWERS = 5  # one for each command
MAX_MESSAGE = 4096  # the controller cuts longer ones, for which the API server would refuse the whole status

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True)
class _Timestamp(Checked):
    def check(self, text: str) -> str:
        if not _RFC3339.fullmatch(text):
            raise refuse("BadTime", "must be a time as Kubernetes writes it, such as 2026-03-01T00:00:00Z")
        return text

    def schema(self) -> dict[str, Any]:
        return {"format": "date-time", "maxLength": 64}


Time = Annotated[str, _Timestamp()]
Count = Annotated[int, Field(ge=0, le=2**53)]
Message = Annotated[str, Field(max_length=MAX_MESSAGE)]
Word = Annotated[str, Field(max_length=128)]
KeyText = Annotated[str, Field(max_length=MAX_MESSAGE)]
Nonce = Annotated[str, Field(max_length=MAX_TEXT)]


class Condition(Model):
    """One condition, as in other Kubernetes objects."""

    type: Annotated[str, Field(min_length=1, max_length=316)] = Field(
        description="Ready, SourceReady, Autoscaling, Suspended, Degraded, Stalled or KeepingUp."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int = Field(0, ge=0, description="Generation of the spec that this condition describes.")
    last_transition_time: Time = Field(description="When status last changed.")
    reason: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)] = Field(
        description="Machine-readable reason, one word."
    )
    message: Annotated[str, Field(max_length=32_768)] = Field(description="What was found, and what to do.")


class PastSweep(Model):
    """One sweep and its counters: planned = applied + skipped + unconfirmed + retrying + dead, plus the open rows."""

    id: Word = Field(description="Name of the sweep in the queue and in logs.")
    tick: Time = Field(description="Nominal time that the sweep was started for.")
    mode: Word = Field("Enforce", description="Enforce or DryRun.")
    state: Word = Field(description=f"{', '.join(SweepState)}.")
    reason: Word = Field("", description="Why it ended or waits, in one word.")
    start_time: Time | None = Field(None, description="When it was started.")
    completion_time: Time | None = Field(None, description="When the last of its jobs was settled.")
    planned: Count = Field(0, description="Rows that were found stale.")
    stale: Count | None = Field(
        None,
        description="Rows that were stale when it began, if it has ended and planned fewer, such as up to its cap.",
    )
    applied: Count = Field(0, description="Rows that were written.")
    skipped: Count = Field(
        0, description="Rows that were no longer stale when they were reached, or left for the next sweep."
    )
    unconfirmed: Count = Field(
        0, description="Rows that were not stale at a second delivery: the first one may have written them."
    )
    retrying: Count = Field(0, description="Rows that failed and wait for another attempt.")
    dead: Count = Field(0, description="Rows that used up their attempts.")


class Proposal(Model):
    """What a sweep found that awaits approval, or a dry run; a field that is unknown is absent."""

    rows: Count | None = Field(None, description="Stale rows.")
    estimated: bool | None = Field(
        None, description="true: rows is an estimate of the database's query planner; otherwise they were counted."
    )
    oldest_time: Time | None = Field(None, description="When the oldest of them became stale.")
    newest_time: Time | None = Field(None, description="When the newest of them became stale.")
    sample_keys: Annotated[list[KeyText], Field(max_length=MAX_SAMPLES)] | None = Field(
        None, description="Keys of some of them."
    )


class LastSweep(PastSweep):
    """The latest sweep."""

    message: Message = Field("", description="Why it ended or waits, and what to do.")
    cutoff: Word | None = Field(None, description="The database's clock at its first plan step: now in the match.")
    capped: bool = Field(
        False, description="true: maxRowsPerSweep was reached, and the other rows wait for the next tick."
    )
    sample_keys: Annotated[list[KeyText], Field(max_length=MAX_SAMPLES)] | None = Field(
        None, description="DryRun: keys of some rows that would be swept."
    )
    proposal: Proposal | None = Field(
        None, description="What it found, while it awaits approval; of a DryRun also afterwards."
    )


class Backlog(Model):
    """The stale rows that are not finished. Rates are averages over the latest sweeps; a field that is unknown is absent."""

    rows: Count | None = Field(None, description="Stale rows that the latest sweep found and that are not finished.")
    oldest_time: Time | None = Field(None, description="When the oldest of them became stale.")
    inflow_per_hour: Count | None = Field(None, description="Rows that become stale in an hour.")
    outflow_per_hour: Count | None = Field(
        None, description="Rows that are finished in an hour in which there are rows to sweep."
    )
    empty_time: Time | None = Field(
        None,
        description="When none is left, if the rates stay. Absent where that is unknown, or never: then KeepingUp is False.",
    )
    observed_time: Time = Field(description="When these numbers were read.")


class Baseline(Model):
    """What the latest sweep that planned rows was made of. With limits.approveAbove a sweep of anything else awaits approval."""

    table: Word = Field(description="Hash of source.schema and source.table.")
    match: Word = Field(description="Hash of match, source.naiveTimeZone and source.session.")
    write: Word = Field(description="What is done to a row: update, delete, archive or none.")
    effect: Word = Field(description="What happens before: webhook, handler or none.")
    database: Annotated[str, Field(max_length=LONGEST_DATABASE)] = Field(
        description="PostgreSQL: the system identifier of the server (or its address), the name and the oid of the database. SQLite: the path."
    )
    timeline: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = Field(
        None, description="PostgreSQL's timeline, which changes when a standby is promoted."
    )
    since: Time | None = Field(None, description="When the first sweep of all this started.")


class QueueCounts(Model):
    """Jobs and rows in the queue."""

    ready: Count = Field(0, description="Jobs with rows, or that plan them, that wait for a worker.")
    running: Count = Field(0, description="Jobs that a worker has claimed.")
    delayed: Count = Field(0, description="Jobs of failed rows that wait for their next attempt.")
    dead: Count = Field(0, description="Rows that are dead letters.")


class TickCounts(Model):
    """Ticks by the queue's answer, since the schedule was created in it."""

    enqueued: Count = Field(0, description="Became a sweep.")
    duplicate: Count = Field(0, description="Were already known.")
    forbidden: Count = Field(0, description="Skipped: the previous sweep was not finished.")
    late: Count = Field(0, description="Missed: older than startingDeadlineSeconds.")


class ActiveSchedule(Model):
    """The schedule that fires now, and since when. Ticks before that time never fire."""

    name: Annotated[str, Field(max_length=256)] = Field(description="The cron expression and its zone, or the period.")
    since: Time = Field(description="When the controller first saw this schedule, or saw it resumed.")


class ErrorGroup(Model):
    """Dead letters of one error class."""

    error: Word = Field(description="Error class.")
    count: Count = Field(description="Dead letters of this class.")
    message: Message = Field("", description="Message of the latest.")
    first_time: Time | None = Field(None, description="When the first of them died.")
    last_time: Time | None = Field(None, description="When the latest of them died.")
    sample_keys: Annotated[list[KeyText], Field(max_length=MAX_SAMPLE_KEYS)] = Field(
        default_factory=list, description="Keys of some of these rows."
    )


class Handled(Model):
    """The values (nonces) of the annotations that were handled."""

    trigger: Nonce | None = Field(None, description="kubesweep.dev/trigger: one sweep now.")
    approve: Nonce | None = Field(
        None, description="kubesweep.dev/approve: approve the sweep that is AwaitingApproval."
    )
    retry_dead_letters: Nonce | None = Field(None, description="kubesweep.dev/retry-dead-letters: retry dead letters.")
    purge_dead_letters: Nonce | None = Field(None, description="kubesweep.dev/purge-dead-letters: delete dead letters.")
    throttle: Nonce | None = Field(
        None, description="kubesweep.dev/throttle: a rate that replaces limits.rowsPerSecond."
    )


class Answer(Model):
    """What became of the latest command of one kind."""

    command: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Trigger, Approve, RetryDeadLetters, PurgeDeadLetters or Throttle."
    )
    nonce: Nonce = Field(description="The annotation's value, or the nonce in it, that this answers.")
    outcome: Word = Field(description="Done or Refused.")
    reason: Word = Field(description="What was done, or why nothing was, in one word.")
    message: Message = Field(description="The same in one sentence, and what to do.")
    rows: Count | None = Field(None, description="How many dead letters were retried or purged.")
    sweep: Word | None = Field(None, description="The sweep that it started or approved, or that prevents it.")
    time: Time = Field(description="When it was executed or refused.")


class Throttle(Model):
    """Why the sweep is slower, or faster, than its spec says."""

    reason: Word = Field(
        description="Annotation: kubesweep.dev/throttle replaces limits.rowsPerSecond. ReplayLag, OldestXmin, LockWaits, Vacuum, Query, ActiveSessions: a signal of source.health. Unknown: such a signal was not measured."
    )
    percent: int | None = Field(
        None, ge=0, le=100, description="With a signal: the share of the full speed; 0 is a pause."
    )
    value: Word | None = Field(
        None, description="What holds now: rows per second, pause or off; or the value of the signal."
    )
    limit: Word | None = Field(
        None,
        description="limits.rowsPerSecond that is replaced, absent if there is none; or the limit of the signal.",
    )
    since: Time = Field(description="When this reason, and this rate or percentage, were first seen.")
    message: Message = Field(description="All of this in one sentence.")


class HealthSignal(Model):
    """A signal of source.health, as a worker measured it last."""

    name: Word = Field(description="replayLag, oldestXmin, lockWaits, pauseOnVacuum, query or activeSessions.")
    value: Word | None = Field(None, description="Its value; absent while it is unknown.")
    limit: Word = Field(description="The value from which it pauses the sweep; activeSessions only slows it down.")
    percent: int = Field(ge=0, le=100, description="The share of the full speed that it allows; 0 is a pause.")
    since: Time = Field(description="Since when it has allowed this share, as far as the sweep has measured it.")


class Status(Model):
    """What the controller found and did."""

    observed_generation: int = Field(
        -1, ge=-1, description="Generation of the spec that this status describes; -1: no controller has seen it yet."
    )
    conditions: Annotated[list[Condition], Field(max_length=MAX_CONDITIONS)] = Field(
        default_factory=list,
        description="Ready, SourceReady, Autoscaling, Suspended, Degraded, Stalled, KeepingUp.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    ready_code: Word | None = Field(
        None, description="Code of the error that Ready reports, such as TableMissing (docs/errors.md)."
    )
    active_schedule: ActiveSchedule | None = Field(
        None, description="The schedule that fires now, and since when; absent while suspended."
    )
    last_schedule_time: Time | None = Field(None, description="Nominal time of the latest tick.")
    last_successful_time: Time | None = Field(
        None, description="When a sweep last Completed and not all of its rows had failed."
    )
    last_missed_time: Time | None = Field(None, description="Nominal time of the latest tick that started no sweep.")
    resumed_time: Time | None = Field(
        None, description="When the latest pause by a person ended: a suspension, or a throttle of 0."
    )
    plan: Word | None = Field(None, description="Hash of the plan that SourceReady describes.")
    baseline: Baseline | None = Field(None, description="What the latest sweep that planned rows was made of.")
    counted_time: Time | None = Field(None, description="When the numbers below were written; at most every 15 s.")
    throttle: Throttle | None = Field(
        None, description="Why the sweep is slower or faster than its spec says; absent if it is not."
    )
    signals: Annotated[list[HealthSignal], Field(max_length=MAX_SIGNALS)] = Field(
        default_factory=list, description="The signals of source.health, while workers measure them."
    )
    backlog: Backlog | None = Field(
        None, description="The stale rows that are not finished; absent before the first sweep."
    )
    last_sweep: LastSweep | None = Field(None, description="The latest sweep.")
    history: Annotated[list[PastSweep], Field(max_length=HISTORY)] = Field(
        default_factory=list, description=f"The sweeps before the latest, newest first (at most {HISTORY})."
    )
    queue: QueueCounts | None = Field(None, description="Jobs and rows in the queue.")
    ticks: TickCounts | None = Field(None, description="Ticks by the queue's answer.")
    oldest_ready_time: Time | None = Field(
        None, description="When the longest waiting job became ready; absent if none waits."
    )
    errors: Annotated[list[ErrorGroup], Field(max_length=MAX_ERROR_GROUPS)] = Field(
        default_factory=list,
        description=f"Dead letters by error class, the largest group first (at most {MAX_ERROR_GROUPS}).",
    )
    handled: Handled | None = Field(None, description="Values of the annotations that were handled.")
    answers: Annotated[list[Answer], Field(max_length=MAX_ANSWERS)] = Field(
        default_factory=list,
        description="What became of the latest command of each kind. Absent: the controller is too old to read filters.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["command"]},
    )
    served_by: Annotated[str, Field(max_length=512)] | None = Field(
        None,
        description="Namespace and name of the Deployment of the release that serves this object; other releases ignore it.",
    )
