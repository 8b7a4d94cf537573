"""Read a pod's configuration from its environment. ``SpecError``: only another pod template fixes it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kubesweep.api.plan import FORMAT, Plan
from kubesweep.errors import SpecError
from kubesweep.logging import configure
from kubesweep.text import clip

__all__ = ["CODE", "log_level", "plan", "required"]

CODE = "PodEnvironment"


def log_level(environment: Mapping[str, str]) -> str:
    level = environment.get("KUBESWEEP_LOG_LEVEL") or "info"
    if level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        configure()
        raise SpecError(CODE, f"KUBESWEEP_LOG_LEVEL is {level!r}: write debug, info, warning or error")
    return level


def required(environment: Mapping[str, str], name: str) -> str:
    """A required variable. Raises SpecError."""
    value = environment.get(name, "")
    if not value:
        raise SpecError(
            CODE, f"{name} is not set: the controller sets it, and a pod that you create yourself needs it too"
        )
    return value


def plan(environment: Mapping[str, str]) -> Plan:
    """The plan in KUBESWEEP_PLAN. Raises SpecError where this version cannot read it."""
    text = required(environment, "KUBESWEEP_PLAN")
    fix = "the controller and this image (spec.worker.image) are of different versions: use the same version for both"
    try:
        found = Plan.from_json(text)
    except msgspec.DecodeError as error:
        raise SpecError(
            CODE, f"KUBESWEEP_PLAN cannot be read ({clip(' '.join(str(error).split()), 200)}): {fix}"
        ) from None
    if found.format != FORMAT:
        raise SpecError(CODE, f"KUBESWEEP_PLAN has format {found.format}, this image reads {FORMAT}: {fix}")
    return found
