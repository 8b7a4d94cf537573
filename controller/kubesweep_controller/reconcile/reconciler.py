"""Reconciles one schedule. Every run starts from what the API server and the queue report now.

So it does not matter how many runs were skipped, or which controller made the one before. The order is fixed:

1. Whatever stops work comes first: a suspended schedule is paused before its running jobs are counted.
2. The children are reconciled (:mod:`.children_reconciler`). A resumed schedule gets its workers before its queue opens.
3. The queue gets commands, due sweeps and checks (:mod:`.queue_reconciler`).
4. The status is written, and Events are posted.

An outage of the queue does not stop the Kubernetes half. An invalid spec leaves the last valid version running.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kubesweep.errors import KubesweepError, Outage
from kubesweep.queue.model import ScheduleRef
from kubesweep.text import clip
from kubesweep_controller.children.names import ScheduleKey
from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import SCHEDULES, KubeClient
from kubesweep_controller.kube.events import Events
from kubesweep_controller.kube.object_limits import trim
from kubesweep_controller.kube.workqueue import backoff
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.reconcile.children_reconciler import ChildrenReconciler
from kubesweep_controller.reconcile.desired_pace import desired_pace
from kubesweep_controller.reconcile.interval_ticks import next_reconcile
from kubesweep_controller.reconcile.ownership import RECHECK_SECONDS, Ownership, served_by
from kubesweep_controller.reconcile.queue_reconciler import QueueReconciler
from kubesweep_controller.reconcile.spec_cache import SpecCache
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.commands import CommandResult
from kubesweep_controller.status.event_rules import events_of
from kubesweep_controller.status.observation import Observation
from kubesweep_controller.status.pruned_fields import PrunedFields

log = logging.getLogger("kubesweep.controller")
STARTING = 5.0  # seconds between reconciles while a desired pod is not ready
CONFLICT_RETRY = 0.5  # seconds, where somebody else wrote first
LASTING = 30.0  # seconds of failures until the status reports them
BLOCKED_RETRY = 30.0  # seconds, while the cluster blocks a child


@dataclass
class _FailureStreak:
    """Consecutive failures to reconcile the children."""

    since: float
    times: int = 0


@dataclass
class Reconciler:
    """The work queue calls :meth:`reconcile`."""

    client: KubeClient
    cache: Cache
    children: ChildrenReconciler
    queue: QueueReconciler
    specs: SpecCache
    events: Events
    metrics: Metrics
    ownership: Ownership
    clock: Callable[[], float] = time.time  # seconds since the epoch
    eviction_policy: Callable[[], str] = lambda: ""  # of the queue's server

    def __post_init__(self) -> None:
        self._refs: dict[ScheduleKey, ScheduleRef] = {}
        self._pruned = PrunedFields()
        self._failures: dict[ScheduleKey, _FailureStreak] = {}

    async def reconcile(self, key: ScheduleKey) -> float | None:
        """Bring the cluster to what the schedule asks for, and report. Returns the seconds until the next run; None: no such schedule."""
        began = time.monotonic()
        try:
            again = await self._reconcile(key)
        except Exception as error:
            self.metrics.reconciled(time.monotonic() - began, getattr(error, "reason", type(error).__name__))
            raise
        self.metrics.reconciled(time.monotonic() - began, None)
        return again

    async def _reconcile(self, key: ScheduleKey) -> float | None:
        body = self.cache.schedules.get(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            await self._delete(key)
            return None
        body = self._pruned.restored(key, body)
        if other := await self.ownership.other(body):
            return await self._leave(key, body, other)
        if served_by(body) != self.ownership.mine:
            if (claimed := await self._claim(key, body)) is None:
                return CONFLICT_RETRY
            body = claimed
        observation = await self.queue.observe(await self._observe_object(key, body), control=True)
        observation, failure = await self._reconcile_children(key, observation)
        observation, results = await self.queue.act(observation)
        if observation.outage is None and (problem := self.children.credentials_problem(key)):
            observation = replace(observation, outage=problem, outage_seconds=math.inf)
        await self._report(observation, results)
        if failure is not None:
            return min(self._next(observation), self._retry_children(key, failure))
        self._failures.pop(key, None)
        return self._next(observation)

    async def _observe_object(self, key: ScheduleKey, body: Mapping[str, Any]) -> Observation:
        ref = ScheduleRef(self.queue.install, *key, body["metadata"]["uid"])
        if self._refs.get(key, ref) != ref:
            with contextlib.suppress(Outage):  # the old keys expire; the new schedule must not wait for their deletion
                await self._delete(key)
        self._refs[key] = ref
        spec = self.specs.read(body, ref)
        plan = spec.plan and self.children.running_plan(key, spec.plan)
        return Observation(
            body,
            self.clock(),
            ref,
            spec.schedule,
            spec.refusal,
            plan,
            pace=desired_pace(spec.plan, body) if spec.plan else None,
            stats=None,
            outage=None,
            eviction_policy=self.eviction_policy(),
        )

    async def _reconcile_children(
        self, key: ScheduleKey, observation: Observation
    ) -> tuple[Observation, Exception | None]:
        """A failure stops no tick of what existed before. The status reports it only once it lasts."""
        try:
            return replace(observation, children=await self.children.reconcile(key, observation)), None
        except Exception as error:
            streak = self._failures.setdefault(key, _FailureStreak(self.clock()))
            lasts = self.clock() - streak.since >= LASTING
            text = str(error) if isinstance(error, KubesweepError) else f"{type(error).__name__}: {error}"
            failure = clip(text, 1000) if lasts else ""
            return replace(observation, children=self.children.seen(key), reconcile_failure=failure), error

    def _retry_children(self, key: ScheduleKey, failure: Exception) -> float:
        """Seconds until the children are reconciled again."""
        streak = self._failures.setdefault(key, _FailureStreak(self.clock()))
        streak.times += 1
        delay = backoff(streak.times, random.uniform(0.5, 1.0))
        self.metrics.failed(getattr(failure, "reason", type(failure).__name__))
        about = {"namespace": key[0], "schedule": key[1], "again_in": round(delay, 1)}
        known = isinstance(failure, KubesweepError)
        log.warning("cannot reconcile the children: %s", failure, exc_info=None if known else failure, extra=about)
        return delay

    async def _claim(self, key: ScheduleKey, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The object with our name in ``status.servedBy``; None: reconcile again."""
        written = await self.ownership.claim(body)
        if written is None:
            return None
        status = {**(written.get("status") or {}), "servedBy": self.ownership.mine}
        self._pruned.wrote(key, status, written)
        self.cache.update(SCHEDULES, written)
        return {**trim(written), "status": status}

    async def _leave(self, key: ScheduleKey, body: Mapping[str, Any], other: str) -> float:
        """Another release serves the schedule. Nothing is changed; what our queue has of it expires."""
        if (event := self.ownership.leave(body, other)) is not None:
            await self.events.post(body, event)
        self._forget(key)
        return RECHECK_SECONDS

    async def _report(self, observation: Observation, results: list[CommandResult]) -> None:
        status = build_status(observation, results)
        self.metrics.observe(observation, status)
        if status == observation.body.get("status"):
            return
        for event in events_of(observation, status, results):
            await self.events.post(observation.body, event)
        written = await self.client.replace_status(SCHEDULES, observation.body, status)
        if written is not None:
            self._pruned.wrote((observation.ref.namespace, observation.ref.name), status, written)
            self.cache.update(SCHEDULES, written)

    def _next(self, observation: Observation) -> float:
        seconds = next_reconcile(observation)
        children = observation.children
        if (children.desired or 0) > children.ready:
            seconds = min(seconds, STARTING)
        return min(seconds, BLOCKED_RETRY) if children.stuck or children.name_taken else seconds

    async def _delete(self, key: ScheduleKey) -> None:
        """The schedule was deleted; the cluster deletes its children with it. Remove its keys from the queue and its state from memory."""
        ref = self._refs.get(key)
        if ref is not None:
            await self.queue.queue.forget(ref)
            self.events.forget(ref.uid)
        self._forget(key)

    def _forget(self, key: ScheduleKey) -> None:
        self._refs.pop(key, None)
        self._failures.pop(key, None)
        self._pruned.forget(key)
        self.queue.forget(key)
        self.specs.forget(key)
        self.metrics.forget(*key)
        self.children.forget(key)

    async def collect_garbage(self) -> None:
        """Delete from the queue what belongs to schedules that were deleted while no controller ran. Raises ``Outage``."""
        served = {(*key, body["metadata"]["uid"]) for key, body in self.cache.schedules.items()}
        await self.queue.collect_garbage(served)
