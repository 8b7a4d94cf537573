"""What all pods of an installation start from: the chart's value ``worker.defaults``.

It has the fields of ``spec.worker`` and, in ``tick``, those of ``spec.tick``, and is validated by the same types. A schedule's own fields are
laid over it. The administrator sets it, so the pod policy (:mod:`.pod_policy`) does not restrict it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from kubesweep.api.loading.objects import read_plain
from kubesweep.api.models.spec import Env, PodTemplate, Resources
from kubesweep.api.models.types import Model
from kubesweep_controller.children.overlay import merge
from kubesweep_controller.children.quantity import amount

__all__ = ["PodDefaults", "TickDefaults", "combined", "read_defaults"]

PATH = "worker.defaults"  # of the chart's values


class TickDefaults(Model):
    """What differs for the pods of ticks."""

    resources: Resources | None = Field(None, description="Resources of the producer's container, as in a pod.")
    pod_template: PodTemplate | None = Field(None, description="Overlay; the container in it is called producer.")


class PodDefaults(Model):
    """The pods of workers. Scheduling and security fields of ``pod_template`` apply to the pods of ticks too."""

    resources: Resources | None = Field(None, description="Resources of the worker's container, as in a pod.")
    env: Env | None = Field(None, description="Environment of the worker's container, as in a pod.")
    pod_template: PodTemplate | None = Field(None, description="Overlay; the container in it is called worker.")
    tick: TickDefaults = Field(default_factory=TickDefaults, description="The pods of ticks.")


def read_defaults(data: Any) -> PodDefaults:
    """Raises ``SpecErrors`` with the path of each invalid field, as in the chart's values."""
    return read_plain(data, PodDefaults, PATH)


def combined(default: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A schedule's ``own`` resources laid over the default ones.

    A default never makes an own value invalid, as a request above its limit would be. A default request above the own limit is left out,
    and a default limit below the own request is raised to that request.
    """
    made: dict[str, Any] = merge(default, own)
    limits, requests = (dict(made.get(kind) or {}) for kind in ("limits", "requests"))
    ours = {kind: own.get(kind) or {} for kind in ("limits", "requests")}
    for name in limits.keys() & requests.keys():
        most, least = amount(limits[name]), amount(requests[name])
        if most is None or least is None or least <= most:
            continue
        if name in ours["limits"] and name not in ours["requests"]:
            del requests[name]
        elif name in ours["requests"] and name not in ours["limits"]:
            limits[name] = requests[name]
    made |= {"limits": limits, "requests": requests}
    return {name: each for name, each in made.items() if each}
