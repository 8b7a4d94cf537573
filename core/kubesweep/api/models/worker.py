"""spec.worker and spec.tick: the pods of a schedule, with the defaults and bounds of their number and resources."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from kubesweep.api.models import cel
from kubesweep.api.models.pod_shape import template_problem
from kubesweep.api.models.types import Amounts, Duration, FreeList, FreeMap, Image, Model, refuse


def _shaped(template: dict[str, Any]) -> dict[str, Any]:
    if problem := template_problem(template):
        raise refuse("BadPodTemplate", problem)
    return template


def _named(env: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for number, each in enumerate(env):
        if not isinstance(each.get("name"), str):
            raise refuse("BadPodTemplate", f"[{number}].name: required, text")
    return env


PodTemplate = Annotated[FreeMap, AfterValidator(_shaped)]
Env = Annotated[FreeList, AfterValidator(_named)]


class Resources(Model):
    """Limits and requests of a container."""

    limits: Amounts | None = Field(None, description="The most of each resource, such as memory: 256Mi.")
    requests: Amounts | None = Field(None, description="The reserved amount of each resource, such as cpu: 100m.")
    claims: FreeList | None = Field(None, description="Resource claims, as in a pod.")


class Worker(Model):
    """The pods that do the work."""

    model_config = cel.checked(
        cel.forbidden("self.minReplicas <= self.maxReplicas", "must not be above maxReplicas", at="minReplicas")
    )

    image: Image | None = Field(None, description="Image with the handler's code; default the image of Kubesweep.")
    min_replicas: int = Field(0, ge=0, le=1000, description="Pods that always run (0 to 1000).")
    max_replicas: int = Field(4, ge=1, le=1000, description="Most pods that run (1 to 1000).")
    jobs_per_replica: int = Field(
        10, ge=1, le=1000, description="Waiting jobs for each pod that is started (1 to 1000)."
    )
    concurrency: int = Field(2, ge=1, le=64, description="Concurrent jobs in one pod (1 to 64).")
    cooldown: Annotated[str, Duration("1s", "1h")] = Field(
        "60s", description="Idle time before the last pod is stopped (1s to 1h)."
    )
    resources: Resources | None = Field(None, description="Resources of the worker's container, as in a pod.")
    env: Env | None = Field(None, description="Environment of the worker's container, as in a pod.")
    env_from: FreeList | None = Field(None, description="Sources of that environment, as in a pod.")
    pod_template: PodTemplate | None = Field(
        None, description="Overlay for every other field of the pod template; the container in it is called worker."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise refuse("OutOfOrder", f"minReplicas {self.min_replicas} is above maxReplicas {self.max_replicas}")
        return self


class Tick(Model):
    """The pods that start sweeps of a cron schedule. The scheduling and security fields of worker.podTemplate apply to them too."""

    resources: Resources | None = Field(None, description="Resources of the container; default small ones.")
    pod_template: PodTemplate | None = Field(
        None, description="Overlay for other fields of the pod template; the container in it is called producer."
    )
    ttl_seconds_after_finished: int | None = Field(
        None, ge=0, le=604_800, description="Seconds after which a finished Job is deleted; default never."
    )
    failed_jobs_history_limit: int = Field(1, ge=0, le=100, description="Failed Jobs that are kept (0 to 100).")
