"""The causes that ``kubectl sweep why`` tells apart, each with the page that explains it, and the shape of its answer."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["CALM", "PAGES", "Cause", "Diagnosis"]


class Cause(StrEnum):
    """In the order in which they are looked for. docs/kubectl.md lists them."""

    DELETED = "Deleted"
    UNOBSERVED = "Unobserved"
    INVALID_SPEC = "InvalidSpec"
    SUSPENDED = "Suspended"
    CRD_OUTDATED = "CrdOutdated"
    AWAITING_APPROVAL = "AwaitingApproval"
    CHILDREN_REFUSED = "ChildrenRefused"
    QUEUE_UNAVAILABLE = "QueueUnavailable"
    WRONG_PASSWORD = "WrongPassword"
    SOURCE_NOT_READY = "SourceNotReady"
    EFFECT_NOT_READY = "EffectNotReady"
    IMAGE_NOT_PULLED = "ImageNotPulled"
    SECRET_MISSING = "SecretMissing"
    CRASH_LOOP = "CrashLoop"
    UNSCHEDULABLE = "Unschedulable"
    PODS_REFUSED = "PodsRefused"
    SCALER_NOT_READY = "ScalerNotReady"
    KEDA_MISSING = "KedaMissing"
    NO_WORKER = "NoWorker"
    CHECKING = "Checking"
    TICK_FAILING = "TickFailing"
    TICK_MISSED = "TickMissed"
    CONTROLLER_SILENT = "ControllerSilent"
    PAUSED = "Paused"
    THROTTLED = "Throttled"
    HALTED = "Halted"
    FAILED = "Failed"
    LOST = "Lost"
    ROWS_RETRYING = "RowsRetrying"
    FALLING_BEHIND = "FallingBehind"
    DEAD_LETTERS = "DeadLetters"
    QUEUE_EVICTS = "QueueEvicts"
    DEGRADED = "Degraded"
    RUNNING = "Running"
    DRY_RUN = "DryRun"
    NEVER_SWEPT = "NeverSwept"
    NOTHING_STALE = "NothingStale"
    WELL = "Well"


# Nothing is wrong, or somebody asked for it: exit code 0.
CALM = frozenset(
    {
        Cause.DELETED,
        Cause.SUSPENDED,
        Cause.CHECKING,
        Cause.RUNNING,
        Cause.DRY_RUN,
        Cause.NEVER_SWEPT,
        Cause.NOTHING_STALE,
        Cause.WELL,
    }
)
PAGES = {
    Cause.DELETED: "docs/operations.md",
    Cause.UNOBSERVED: "docs/runbooks/controller-down.md",
    Cause.INVALID_SPEC: "docs/errors.md#spec-and-files",
    Cause.SUSPENDED: "docs/conditions.md#conditions",
    Cause.CRD_OUTDATED: "docs/operations.md",
    Cause.AWAITING_APPROVAL: "docs/runbooks/sweep-awaiting-approval.md",
    Cause.CHILDREN_REFUSED: "docs/runbooks/reconcile-errors.md",
    Cause.QUEUE_UNAVAILABLE: "docs/runbooks/queue-down.md",
    Cause.WRONG_PASSWORD: "docs/database.md",
    Cause.SOURCE_NOT_READY: "docs/errors.md#source",
    Cause.EFFECT_NOT_READY: "docs/errors.md#worker",
    Cause.IMAGE_NOT_PULLED: "docs/runbooks/not-ready.md",
    Cause.SECRET_MISSING: "docs/database.md",
    Cause.CRASH_LOOP: "docs/runbooks/worker-crash-loop.md",
    Cause.UNSCHEDULABLE: "docs/runbooks/not-ready.md",
    Cause.PODS_REFUSED: "docs/platforms.md",
    Cause.SCALER_NOT_READY: "docs/runbooks/not-ready.md#keda-starts-no-worker",
    Cause.KEDA_MISSING: "docs/runbooks/not-ready.md#keda-starts-no-worker",
    Cause.NO_WORKER: "docs/runbooks/sweep-overdue.md",
    Cause.CHECKING: "docs/runbooks/not-ready.md",
    Cause.TICK_FAILING: "docs/runbooks/missed-schedule.md",
    Cause.TICK_MISSED: "docs/runbooks/missed-schedule.md",
    Cause.CONTROLLER_SILENT: "docs/runbooks/controller-down.md",
    Cause.PAUSED: "docs/conditions.md#commands",
    Cause.THROTTLED: "docs/runbooks/throttled.md",
    Cause.HALTED: "docs/runbooks/sweep-failed.md",
    Cause.FAILED: "docs/runbooks/sweep-failed.md",
    Cause.LOST: "docs/redis.md#when-it-is-away",
    Cause.ROWS_RETRYING: "docs/concepts.md",
    Cause.FALLING_BEHIND: "docs/runbooks/falling-behind.md",
    Cause.DEAD_LETTERS: "docs/runbooks/dead-letters.md",
    Cause.QUEUE_EVICTS: "docs/redis.md",
    Cause.DEGRADED: "docs/conditions.md#conditions",
    Cause.RUNNING: "docs/concepts.md",
    Cause.DRY_RUN: "docs/concepts.md",
    Cause.NEVER_SWEPT: "docs/concepts.md",
    Cause.NOTHING_STALE: "docs/concepts.md",
    Cause.WELL: "docs/concepts.md",
}


class Diagnosis(NamedTuple):
    """``sentence`` for people, ``command`` to type, and ``purpose``: what the command does, such as ``To approve it``."""

    cause: Cause
    sentence: str
    command: str
    purpose: str = "To fix it"
    evidence: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        return PAGES[self.cause]

    @property
    def is_calm(self) -> bool:
        return self.cause in CALM
