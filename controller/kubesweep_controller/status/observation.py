"""Facts: all that one look at one schedule found. Decisions (conditions, status, Events) are pure functions of it.

Nothing in here is remembered from one look to the next but what the API server and the queue themselves remember, so a
controller that starts anew decides as the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import ErrorGroup, ScheduleRef, Stats

__all__ = ["Children", "Observation"]


@dataclass(frozen=True)
class Children:
    """What was seen of the schedule's own objects. Times are seconds since the epoch, problems are sentences."""

    name_taken: str | None = None  # a child's name belongs to somebody else's object
    rejected: str | None = None  # what the API server refused in a child (422): bad cron, bad pod template
    cron_last: float | None = None  # CronJob.status.lastScheduleTime
    cron_since: float | None = None  # when the CronJob's spec was last changed
    wanted: int | None = None  # Deployment.spec.replicas
    ready: int = 0  # Deployment.status.readyReplicas
    stuck: str | None = None  # why a pod of the worker does not start (ImagePullBackOff: ..., quota, ...)
    keda: bool = False  # the cluster serves keda.sh
    scaler_problem: str | None = None  # the message of a ScaledObject that is not Ready
    scaled: bool | None = None  # whether KEDA calls the ScaledObject Ready; None: not asked yet
    polling: float = 5.0  # seconds from one look of KEDA's at the queue to the next


@dataclass(frozen=True)
class Observation:
    """``body`` is the SweepSchedule as the API server has it, its status the one that was written last."""

    body: Mapping[str, Any]
    now: float  # seconds since the epoch
    ref: ScheduleRef
    schedule: SweepSchedule | None  # None: the spec is refused, see ``refusal``
    refusal: SpecError | None
    plan: Plan | None
    stats: Stats | None  # None: the queue could not be asked, see ``outage``
    outage: Outage | None
    outage_seconds: float = 0.0  # seconds since the queue was first missed
    groups: tuple[ErrorGroup, ...] = ()
    children: Children = Children()
    eviction_policy: str = ""  # the queue's eviction policy, where it has one
    reconcile_failure: str = ""  # what looks at the children have failed with for a while
