"""Everything that one reconcile found out about one schedule. Conditions, status and Events are pure functions of it.

The controller remembers nothing between two reconciles that the API server and the queue do not store themselves. So a restarted
controller decides like the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.plan import Plan
from kubesweep.backlog import Backlog, backlog_of
from kubesweep.durations import parse_duration
from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import ErrorGroup, Pace, ScheduleRef, Stats

__all__ = ["Children", "Observation", "paused", "suspended", "ticks_often"]

FREQUENT = 60.0  # seconds


@dataclass(frozen=True)
class Children:
    """The state of the schedule's own objects. Times are seconds since the epoch, problems are sentences."""

    name_taken: str | None = None  # an object of somebody else has the name of a child
    rejected: str | None = None  # what the API server refuses in a child (422): bad cron, bad pod template
    cron_last: float | None = None  # CronJob.status.lastScheduleTime
    cron_since: float | None = None  # when the CronJob's spec last changed
    desired: int | None = None  # Deployment.spec.replicas
    ready: int = 0  # Deployment.status.readyReplicas
    stuck: str | None = None  # why a worker's pod does not start (ImagePullBackOff: ..., quota, ...)
    crash_loop: bool = False  # a worker's container crashes again and again
    keda: bool = False  # the cluster serves keda.sh
    scaler_problem: str | None = None  # the message of a ScaledObject that is not Ready
    scaled: bool | None = None  # whether KEDA set the ScaledObject to Ready; None: not asked yet
    polling: float = 5.0  # KEDA's polling interval in seconds


@dataclass(frozen=True)
class Observation:
    """``body`` is the SweepSchedule as the API server has it; its status is the one that was written last."""

    body: Mapping[str, Any]
    now: float  # seconds since the epoch
    ref: ScheduleRef
    schedule: SweepSchedule | None  # None: the spec is invalid, see ``refusal``
    refusal: SpecError | None
    plan: Plan | None
    pace: Pace | None  # that the queue should have; None: the spec is invalid
    stats: Stats | None  # None: the queue did not answer, see ``outage``
    outage: Outage | None
    outage_seconds: float = 0.0  # since the first failed call
    groups: tuple[ErrorGroup, ...] = ()
    children: Children = Children()
    eviction_policy: str = ""  # of the queue's server, empty for noeviction
    reconcile_failure: str = ""  # why the children could not be reconciled for a while

    @cached_property  # status, condition and metrics need it
    def backlog(self) -> Backlog | None:
        return None if self.stats is None else backlog_of(self.stats, self.now)


def suspended(observation: Observation) -> bool:
    """Whether the spec suspends the schedule, also where the spec is invalid for another reason."""
    if observation.schedule is not None:
        return observation.schedule.spec.suspend
    spec = observation.body.get("spec")
    return isinstance(spec, Mapping) and spec.get("suspend") is True


def paused(observation: Observation) -> bool:
    """Whether a person stopped the schedule, so that the queue hands out no jobs: it is suspended, or its rate is 0."""
    return suspended(observation) or (observation.pace is not None and observation.pace.paused)


def ticks_often(observation: Observation) -> bool:
    """True where ``every`` is so short that writing each sweep would load the API server: its sweeps are written with the numbers."""
    every = observation.schedule.spec.every if observation.schedule is not None else None
    return every is not None and parse_duration(every) < FREQUENT
