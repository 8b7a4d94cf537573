"""Reads the spec of a SweepSchedule and compiles its plan, once for each version of the object.

Whatever is wrong with a spec becomes a ``SpecError``: one bad object must never fail a reconcile.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesweep.api.compile import compile_plan
from kubesweep.api.loading.objects import APPLIED, load_object
from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.plan import Plan
from kubesweep.errors import SpecError
from kubesweep.queue.model import ScheduleRef
from kubesweep_controller.children.names import ScheduleKey
from kubesweep_controller.children.pod_policy import PodPolicy, check_pods
from kubesweep_controller.kube.cache import SHARE
from kubesweep_controller.kube.object_limits import MAX_SPEC_BYTES, is_truncated

__all__ = ["MAX_PLAN_BYTES", "ParsedSpec", "SpecCache", "parse_spec"]

MAX_PLAN_BYTES = 120_000  # Linux takes 128 KiB in an environment variable (MAX_ARG_STRLEN, execve(2))
log = logging.getLogger("kubesweep.controller")


@dataclass(frozen=True)
class ParsedSpec:
    """The result for one ``version`` of an object: a schedule with its plan, or a refusal."""

    version: tuple[Any, ...]
    schedule: SweepSchedule | None
    refusal: SpecError | None
    plan: Plan | None


@dataclass
class SpecCache:
    """``policy``: what a podTemplate may ask for."""

    policy: PodPolicy
    _known: dict[ScheduleKey, ParsedSpec] = field(default_factory=dict)

    def read(self, body: Mapping[str, Any], ref: ScheduleRef) -> ParsedSpec:
        """The parsed spec of this object; parsed again only where the object's spec changed."""
        key, meta = (ref.namespace, ref.name), body["metadata"]
        truncated = is_truncated(body.get("spec"))
        version = ref, meta["generation"], truncated, (meta.get("annotations") or {}).get(APPLIED)
        known = self._known.get(key)
        if known is None or known.version != version:
            known = self._known[key] = parse_spec(body, ref, version, self.policy)
        return known

    def forget(self, key: ScheduleKey) -> None:
        self._known.pop(key, None)

    def clear(self) -> None:
        self._known.clear()


def parse_spec(body: Mapping[str, Any], ref: ScheduleRef, version: tuple[Any, ...], policy: PodPolicy) -> ParsedSpec:
    """Never fails: a spec that cannot be read is a refusal."""
    try:
        if is_truncated(body.get("spec")):
            raise SpecError("TooLarge", _TOO_LARGE)
        schedule = load_object(body)
        check_pods(schedule.spec, policy)
        plan = compile_plan(schedule, uid=ref.uid, install=ref.install)
        if (size := len(plan.to_json().encode())) > MAX_PLAN_BYTES:
            raise SpecError("PlanTooLarge", _PLAN_TOO_LARGE.format(size=size, most=MAX_PLAN_BYTES))
        return ParsedSpec(version, schedule, None, plan)
    except SpecError as error:
        return ParsedSpec(version, None, error, None)
    except Exception as error:
        log.exception("a spec cannot be read", extra={"namespace": ref.namespace, "schedule": ref.name})
        refusal = SpecError("Unreadable", f"the spec cannot be read ({type(error).__name__})")
        return ParsedSpec(version, None, refusal, None)


_TOO_LARGE = (
    f"spec: it takes more than {MAX_SPEC_BYTES >> 20} MiB of the controller's memory, or the namespace's large SweepSchedules take more than "
    f"{SHARE >> 20} MiB together, so the controller does not keep it: make this SweepSchedule smaller, or delete others of the namespace"
)
_PLAN_TOO_LARGE = (
    "spec: the plan has {size} bytes, and an environment variable of a pod takes at most {most}: use fewer or shorter values in "
    "spec.match"
)
