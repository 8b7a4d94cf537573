"""The types and reasons of conditions, and the reasons of Events. Programs may rely on them; docs/conditions.md explains each.

Two kinds of reason are not here, because workers and the queue choose them: that of SourceReady, which is the code of a worker's
finding, and that of a sweep (``status.lastSweep.reason``). docs/errors.md has both.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ConditionType", "Reason"]


class ConditionType(StrEnum):
    READY = "Ready"
    SOURCE_READY = "SourceReady"
    AUTOSCALING = "Autoscaling"
    SUSPENDED = "Suspended"
    DEGRADED = "Degraded"
    STALLED = "Stalled"
    KEEPING_UP = "KeepingUp"


class Reason(StrEnum):
    # Ready
    READY = "Ready"
    CHECKING = "Checking"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    CHILD_REJECTED = "ChildRejected"
    RECONCILE_FAILED = "ReconcileFailed"
    QUEUE_UNAVAILABLE = "QueueUnavailable"
    SOURCE_NOT_READY = "SourceNotReady"
    EFFECT_NOT_READY = "EffectNotReady"
    WORKER_STUCK = "WorkerStuck"
    # SourceReady
    CHECKED = "Checked"
    # Autoscaling
    SCALED_BY_KEDA = "ScaledByKeda"
    KEDA_MISSING = "KedaMissing"
    SCALER_FAILED = "ScalerFailed"
    SCALER_SILENT = "ScalerSilent"
    # Suspended
    SUSPENDED = "Suspended"
    ACTIVE = "Active"
    # Degraded
    LAST_SWEEP_FAILED = "LastSweepFailed"
    LOST = "Lost"
    AWAITING_APPROVAL = "AwaitingApproval"
    MISSED_SCHEDULE = "MissedSchedule"
    DEAD_LETTERS = "DeadLetters"
    QUEUE_EVICTS = "QueueEvicts"
    # Degraded and Stalled
    AS_EXPECTED = "AsExpected"
    # KeepingUp: the values of kubesweep.backlog.Rating
    KEEPING_UP = "KeepingUp"
    FALLING_BEHIND = "FallingBehind"
    NOT_ENOUGH_SWEEPS = "NotEnoughSweeps"
    STALE_ROWS_UNKNOWN = "StaleRowsUnknown"
    DRY_RUN = "DryRun"
    # Events only
    COMPLETED = "Completed"
    RESUMED = "Resumed"
    RECOVERED = "Recovered"
    SUPERSEDED = "Superseded"
    SOURCE_WARNING = "SourceWarning"
    DATABASE_FAILOVER = "DatabaseFailover"
    TRIGGERED = "Triggered"
    APPROVED = "Approved"
    DEAD_LETTERS_RETRIED = "DeadLettersRetried"
    DEAD_LETTERS_PURGED = "DeadLettersPurged"
    THROTTLED = "Throttled"
    COMMAND_REFUSED = "CommandRefused"
    SERVED_BY_ANOTHER = "ServedByAnother"
