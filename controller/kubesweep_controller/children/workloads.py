"""The CronJob that enqueues ticks, and the Deployment of the workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.api.models.spec import SweepSchedule, Tick
from kubesweep.api.plan import Plan
from kubesweep_controller.children.names import (
    PRODUCER,
    WORKER,
    cronjob_name,
    inherited,
    metadata,
    selector,
    worker_name,
)
from kubesweep_controller.children.overlay import without_empty
from kubesweep_controller.children.pod import producer_template, worker_template
from kubesweep_controller.children.pod_settings import PodSettings

PRODUCER_SECONDS = 300  # limit of one tick's Job; long enough to pull the image slowly
PRODUCER_RETRIES = 3


def build_cronjob(
    owner: Mapping[str, Any], schedule: SweepSchedule, plan: Plan, queue_url: str, pods: PodSettings, since: str | None
) -> dict[str, Any]:
    """The CronJob of a schedule with ``spec.schedule``. The queue decides on overlaps and deadlines, so the CronJob has neither.

    ``since``: ticks up to this time (RFC 3339) must not run, although a CronJob runs missed times later.
    """
    spec = schedule.spec
    template = producer_template(plan, spec, since, queue_url, pods, copied(owner, pods))
    tick = spec.tick or Tick()
    job = {
        "ttlSecondsAfterFinished": tick.ttl_seconds_after_finished,
        "activeDeadlineSeconds": PRODUCER_SECONDS,
        "backoffLimit": PRODUCER_RETRIES,
        "template": template,
    }
    made: dict[str, Any] = without_empty(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": metadata(cronjob_name(plan.name), owner, PRODUCER),
            "spec": {
                "schedule": spec.schedule,
                "timeZone": spec.time_zone,
                "suspend": spec.suspend,
                "concurrencyPolicy": "Forbid",
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": tick.failed_jobs_history_limit,
                "jobTemplate": {"metadata": {"labels": template["metadata"]["labels"]}, "spec": job},
            },
        }
    )
    return made


def build_deployment(
    owner: Mapping[str, Any], schedule: SweepSchedule, plan: Plan, queue_url: str, pods: PodSettings
) -> dict[str, Any]:
    """The Deployment of the workers, without ``replicas``: KEDA sets that number, or the controller through ``/scale``."""
    made: dict[str, Any] = without_empty(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(worker_name(plan.name), owner, WORKER),
            "spec": {
                "paused": False,
                "revisionHistoryLimit": 2,
                "selector": {"matchLabels": selector(plan.name, WORKER)},
                "template": worker_template(plan, schedule.spec, queue_url, pods, copied(owner, pods)),
            },
        }
    )
    return made


def copied(owner: Mapping[str, Any], pods: PodSettings) -> dict[str, str]:
    """Labels that the pods take over from their SweepSchedule."""
    return inherited(owner, {}, pods.copied_labels)


def with_zero_replicas(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The Deployment to create: without that field, a new one would start a pod."""
    return {**deployment, "spec": {"replicas": 0, **deployment["spec"]}}


def fixed_replicas(schedule: SweepSchedule) -> int:
    """The number of workers without KEDA: at least one, because nothing would start the first one."""
    return max(1, schedule.spec.worker.min_replicas)
