"""What a pod is told: everything is in its environment. ``SpecError`` says what another pod template would cure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kubesweep.api.plan import FORMAT, Plan
from kubesweep.errors import SpecError
from kubesweep.logging import configure

__all__ = ["CODE", "given", "log_level", "plan"]

CODE = "PodEnvironment"


def log_level(environment: Mapping[str, str]) -> str:
    level = environment.get("KUBESWEEP_LOG_LEVEL") or "info"
    if level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        configure()
        raise SpecError(CODE, f"KUBESWEEP_LOG_LEVEL is {level!r}: write debug, info, warning or error")
    return level


def given(environment: Mapping[str, str], name: str) -> str:
    """A variable that must be there."""
    value = environment.get(name, "")
    if not value:
        raise SpecError(CODE, f"{name} is not set: the controller sets it, a pod made by hand has to")
    return value


def plan(environment: Mapping[str, str]) -> Plan:
    """The plan in KUBESWEEP_PLAN, where this version understands it."""
    text = given(environment, "KUBESWEEP_PLAN")
    mend = "the controller and this image (spec.worker.image) are of different versions: bring them to one"
    try:
        found = Plan.from_json(text)
    except msgspec.DecodeError as error:
        raise SpecError(CODE, f"KUBESWEEP_PLAN cannot be read ({error}): {mend}") from None
    if found.format != FORMAT:
        raise SpecError(CODE, f"KUBESWEEP_PLAN has format {found.format}, this image reads {FORMAT}: {mend}")
    return found
