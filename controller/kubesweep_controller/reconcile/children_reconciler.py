"""The Kubernetes half of a reconcile: the namespace's queue credentials, the children, and their observed state.

A child that somebody edited or deleted is detected here: the watch reports the change, the fingerprint of the children differs, and
:mod:`.ensure_children` has all of them applied again by ``kube/apply.py``. A problem of one child is part of the observation: it does not stop the reconcile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep_controller.children.names import (
    COMPONENT_LABEL,
    SCHEDULE_LABEL,
    WORKER,
    ScheduleKey,
    cronjob_name,
    inherited,
    worker_name,
)
from kubesweep_controller.children.observed import ObservedChild
from kubesweep_controller.kube.apply import Applier, ApplyBlocked, ApplyRejected, NameTaken
from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import PODS, SCALEDOBJECTS, ApiOutage, KubeClient
from kubesweep_controller.queue.credentials import QueueCredentials
from kubesweep_controller.reconcile.ensure_children import DesiredChildren, ensure_children, plan_to_run
from kubesweep_controller.reconcile.suspension import may_scale_to_zero
from kubesweep_controller.settings import Settings
from kubesweep_controller.status.active_schedule import active_schedule
from kubesweep_controller.status.conditions.result import find_condition
from kubesweep_controller.status.formatting import parse_time
from kubesweep_controller.status.observation import Children, Observation, suspended
from kubesweep_controller.status.stuck_pods import crash_loop, why_stuck

RECHECK = 5.0  # seconds before pods are first examined, and between two requests for the same answer


@dataclass
class CachedAnswer:
    """Why pods do not start, or why KEDA does not scale, as of ``asked`` (monotonic seconds)."""

    asked: float
    why: str | None = None
    crash_loop: bool = False  # a container crashes again and again
    scaler_ready: bool = False  # KEDA reports the ScaledObject as Ready


@dataclass
class ChildrenReconciler:
    settings: Settings
    client: KubeClient
    cache: Cache
    applier: Applier
    credentials: QueueCredentials
    keda: bool = False  # the cluster serves keda.sh
    full_resync: set[ScheduleKey] = field(default_factory=set)  # whose unwatched children must be read too
    _credentials_failed: dict[ScheduleKey, Outage] = field(default_factory=dict)
    _ensured: dict[ScheduleKey, tuple[Any, ...] | None] = field(default_factory=dict)
    _keda_reports: dict[ScheduleKey, CachedAnswer] = field(default_factory=dict)
    _stuck_pods: dict[ScheduleKey, CachedAnswer] = field(default_factory=dict)

    def credentials_problem(self, key: ScheduleKey) -> Outage | None:
        """Why the schedule's pods may be unable to authenticate to the queue, as of the last reconcile."""
        return self._credentials_failed.get(key)

    def running_plan(self, key: ScheduleKey, plan: Plan) -> Plan:
        return plan_to_run(plan, self.cache.deployment(key), self.cache.cronjob(key))

    def forget(self, key: ScheduleKey) -> None:
        namespace, name = key
        self.applier.forget(namespace, worker_name(name), cronjob_name(name))
        self.full_resync.discard(key)
        self.credentials.forget(namespace, name)
        for known in (self._credentials_failed, self._ensured, self._keda_reports, self._stuck_pods):
            known.pop(key, None)

    def seen(self, key: ScheduleKey) -> Children:
        """The state of the children as far as it is known without a request."""
        deployment, cronjob = self.cache.deployment(key), self.cache.cronjob(key)
        scaler = self._keda_reports.get(key)
        return Children(
            cron_last=cronjob.cron_last if cronjob else None,
            cron_since=cronjob.since if cronjob else None,
            desired=deployment.desired if deployment else None,
            ready=deployment.ready if deployment else 0,
            keda=self.keda,
            scaler_problem=scaler.why if scaler else None,
            scaled=scaler.scaler_ready if scaler else None,
            polling=self.settings.polling_interval,
        )

    async def reconcile(self, key: ScheduleKey, observation: Observation) -> Children:
        """Apply the children if the spec is valid, and observe them. Raises ``ApiOutage``."""
        name_taken = rejected = blocked = None
        try:
            await self._ensure(key, observation)
        except NameTaken as problem:
            name_taken = str(problem)
        except ApplyRejected as problem:
            rejected = str(problem)
        except ApplyBlocked as problem:
            blocked = str(problem)
        pods = await self._query_pods(key, self.cache.deployment(key))
        if self.keda and observation.plan and not name_taken:
            await self._query_keda(key, observation)
        stuck = blocked or pods.why
        return replace(
            self.seen(key), name_taken=name_taken, rejected=rejected, stuck=stuck, crash_loop=pods.crash_loop
        )

    async def _ensure(self, key: ScheduleKey, observation: Observation) -> None:
        if observation.schedule is None or observation.plan is None:
            return
        try:
            recheck = key in self.full_resync or _work_is_stalled(observation)
            await self.credentials.ensure(key[0], observation.body["metadata"], recheck=recheck)
        except ApiOutage:
            raise
        except Outage as outage:
            self._credentials_failed[key] = outage  # the pods keep their current credentials
        else:
            self._credentials_failed.pop(key, None)
        full_resync = key in self.full_resync
        desired = DesiredChildren(
            meta=dict(observation.body["metadata"]),
            schedule=observation.schedule,
            plan=observation.plan,
            user=self.credentials.user(key[0]),
            keda=self.keda,
            scale_to_zero=self._scale_to_zero(key, observation),
            since=(active_schedule(observation) or {}).get("since"),
            labels=inherited(observation.body["metadata"], self.settings.pods.labels, self.settings.pods.copied_labels),
            full_resync=full_resync,
        )
        deployment, cronjob = self.cache.deployment(key), self.cache.cronjob(key)
        state = _fingerprint(observation, desired, deployment, cronjob)
        if state is not None and not full_resync and self._ensured.get(key) == state:
            return
        await ensure_children(self.applier, self.settings, desired, deployment, cronjob)
        self._ensured[key] = state
        if full_resync:
            self.full_resync.discard(key)
            self._keda_reports.pop(key, None)

    def _scale_to_zero(self, key: ScheduleKey, observation: Observation) -> bool:
        known = self.applier.last_applied(SCALEDOBJECTS, key[0], worker_name(key[1]))
        deployment = self.cache.deployment(key)
        fixed_at_zero = not self.keda and bool(deployment and deployment.desired == 0)
        at_zero = known.paused_replicas is not None if known else fixed_at_zero
        condition = find_condition(observation.body.get("status") or {}, "Suspended") or {}
        since = parse_time(condition.get("lastTransitionTime")) if condition.get("status") == "True" else None
        return may_scale_to_zero(
            suspended=suspended(observation), at_zero=at_zero, stats=observation.stats, since=since, now=observation.now
        )

    async def _query_pods(self, key: ScheduleKey, deployment: ObservedChild | None) -> CachedAnswer:
        """Read the pods of a Deployment that is not ready."""
        now = time.monotonic()
        if deployment is None or (deployment.desired or 0) <= deployment.ready:
            self._stuck_pods.pop(key, None)
            return CachedAnswer(now)
        known = self._stuck_pods.setdefault(key, CachedAnswer(now))
        if now - known.asked >= RECHECK:
            chosen = f"{SCHEDULE_LABEL}={key[1]},{COMPONENT_LABEL}={WORKER}"
            pods = await self.client.list(PODS, key[0], chosen)
            known = self._stuck_pods[key] = CachedAnswer(now, why_stuck(deployment, pods), crash_loop(pods))
        return known

    async def _query_keda(self, key: ScheduleKey, observation: Observation) -> None:
        """Read KEDA's report on the ScaledObject: until it is Ready, and again while jobs wait and no worker starts."""
        waits = observation.stats is not None and observation.stats.ready > 0 and not observation.stats.paused
        deployment = self.cache.deployment(key)
        not_started = waits and not (deployment and deployment.desired)
        now, known = time.monotonic(), self._keda_reports.get(key)
        if known and (now - known.asked < RECHECK or (known.scaler_ready and not not_started)):
            return
        body = await self.client.get(SCALEDOBJECTS, key[0], worker_name(key[1]))
        ready = find_condition((body or {}).get("status") or {}, "Ready") or {}
        state = ready.get("status", "Unknown")  # until KEDA has processed it
        why = f"KEDA: {ready.get('message', 'not Ready')}" if state == "False" else None
        self._keda_reports[key] = CachedAnswer(now, why, scaler_ready=state == "True")


def _work_is_stalled(observation: Observation) -> bool:
    """Jobs wait and none runs. Workers may be starting, or they (or KEDA) cannot authenticate to the queue."""
    return (
        observation.stats is not None
        and observation.stats.ready > 0
        and not observation.stats.running
        and not observation.stats.paused
    )


def _fingerprint(
    observation: Observation, desired: DesiredChildren, deployment: ObservedChild | None, cronjob: ObservedChild | None
) -> tuple[Any, ...] | None:
    """Everything that determines the children, and whether the watched ones were changed. While it stays the same nothing is applied.

    Most reconciles only read the queue's numbers, and building every child each time would be most of their cost. None: a child was not
    observed yet, or not since somebody removed its labels, so no watch reports it.
    """
    if deployment is None or (cronjob is None and desired.schedule.spec.schedule is not None):
        return None
    replicas = None if desired.keda else deployment.desired
    revisions = deployment.revision, cronjob.revision if cronjob else None
    return (
        observation.body["metadata"]["generation"],
        desired.plan,
        desired.user,
        desired.keda,
        desired.scale_to_zero,
        desired.since,
        tuple(sorted(desired.labels.items())),
        replicas,
        *revisions,
    )
