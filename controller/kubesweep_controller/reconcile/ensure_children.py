"""Applies all children of one schedule: the Deployment first, then the scaling and the CronJob.

Scaling comes before the CronJob, so that workers can start before the first tick. For a suspended schedule the CronJob comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.plan import Plan
from kubesweep_controller.children.names import cronjob_name, with_labels, worker_name
from kubesweep_controller.children.observed import ObservedChild
from kubesweep_controller.children.scaling import build_scaledobject, build_trigger_authentication
from kubesweep_controller.children.workloads import build_cronjob, build_deployment, fixed_replicas, with_zero_replicas
from kubesweep_controller.kube.apply import Applier
from kubesweep_controller.kube.client import CRONJOBS, DEPLOYMENTS, SCALEDOBJECTS, TRIGGER_AUTHENTICATIONS, KubeClient
from kubesweep_controller.settings import Settings


@dataclass(frozen=True)
class DesiredChildren:
    """What one schedule should have. ``user``: the queue user of its pods."""

    meta: dict[str, Any]  # of the SweepSchedule
    schedule: SweepSchedule
    plan: Plan
    user: str
    keda: bool
    scale_to_zero: bool  # no workers at all, for a suspended schedule
    since: str | None  # RFC 3339: ticks up to this time do not fire
    labels: Mapping[str, str] = field(default_factory=dict)  # additional ones of the children
    full_resync: bool = True  # also read the children that are not watched


def plan_to_run(plan: Plan, *seen: ObservedChild | None) -> Plan:
    """The running plan if it differs from the new one only in its generation, otherwise the new one.

    So an edit that changes nothing for the workers restarts none of them. An edit of limits alone restarts them within the same sweep.
    """
    for each in seen:
        try:
            running = Plan.from_json(each.plan) if each and each.plan else None
        except (msgspec.MsgspecError, RecursionError):
            continue
        if running == plan:
            return plan  # the same object, because it is kept
        if running is not None and running.runs_as(plan):
            return running
    return plan


async def ensure_children(
    applier: Applier,
    settings: Settings,
    desired: DesiredChildren,
    deployment: ObservedChild | None,
    cronjob: ObservedChild | None,
) -> None:
    """Apply each child. Suspending stops the ticks before the workers; resuming starts them after the workers.

    Raises NameTaken, ApplyRejected, ApplyBlocked or Outage at the first child that fails. The children before it are in place.
    """
    meta, plan, schedule = desired.meta, desired.plan, desired.schedule
    url = settings.queue.pod_url(desired.user)
    body = with_labels(build_deployment(meta, schedule, plan, url, settings.pods), desired.labels)
    await applier.ensure(DEPLOYMENTS, body, deployment.revision if deployment else None, with_zero_replicas(body))
    if schedule.spec.suspend:
        await _ensure_cronjob(applier, settings, desired, url, cronjob)
        await _ensure_scaling(applier, settings, desired, deployment)
    else:
        await _ensure_scaling(applier, settings, desired, deployment)
        await _ensure_cronjob(applier, settings, desired, url, cronjob)


async def _ensure_cronjob(
    applier: Applier, settings: Settings, desired: DesiredChildren, url: str, cronjob: ObservedChild | None
) -> None:
    meta, plan, schedule = desired.meta, desired.plan, desired.schedule
    if schedule.spec.schedule is not None:
        cron = with_labels(build_cronjob(meta, schedule, plan, url, settings.pods, desired.since), desired.labels)
        await applier.ensure(CRONJOBS, cron, cronjob.revision if cronjob else None)
    elif cronjob is not None:
        await applier.remove(CRONJOBS, plan.namespace, cronjob_name(plan.name), plan.uid)


async def _ensure_scaling(
    applier: Applier, settings: Settings, desired: DesiredChildren, deployment: ObservedChild | None
) -> None:
    if desired.keda:
        await _ensure_scaledobject(applier, settings, desired)
    else:
        await _set_fixed_replicas(applier.client, desired, deployment)


async def _ensure_scaledobject(applier: Applier, settings: Settings, desired: DesiredChildren) -> None:
    place = desired.plan.namespace, worker_name(desired.plan.name)
    auth = with_labels(build_trigger_authentication(desired.meta, desired.plan.name, settings.queue), desired.labels)
    known = None if desired.full_resync else applier.last_applied(TRIGGER_AUTHENTICATIONS, *place)
    await applier.ensure(TRIGGER_AUTHENTICATIONS, auth, known)
    scaled = build_scaledobject(
        desired.meta,
        desired.schedule,
        desired.plan.ref,
        settings.queue,
        settings.polling_interval,
        scale_to_zero=desired.scale_to_zero,
    )
    known = None if desired.full_resync else applier.last_applied(SCALEDOBJECTS, *place)
    await applier.ensure(SCALEDOBJECTS, with_labels(scaled, desired.labels), known)


async def _set_fixed_replicas(client: KubeClient, desired: DesiredChildren, deployment: ObservedChild | None) -> None:
    """Without KEDA, set the number of workers through ``/scale`` alone, so that it is never part of an apply."""
    number = 0 if desired.scale_to_zero else fixed_replicas(desired.schedule)
    if deployment is None or deployment.desired != number:
        scale = {"spec": {"replicas": number}}
        await client.patch(DEPLOYMENTS, desired.plan.namespace, worker_name(desired.plan.name), scale, "scale")
