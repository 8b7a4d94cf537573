"""The pace of a schedule: ``source.health``, ``limits.batchTime``, and ``limits.rowsPerSecond`` unless ``kubesweep.dev/throttle`` replaces it. Pure.

The annotation is a state, not a command: it holds until it is removed, also after the queue was lost. It is meant for a person who sees
that the sweep is too much for the database now, and does not want to change the spec (which GitOps would change back).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.api.plan import Plan
from kubesweep.errors import SpecError
from kubesweep.queue.model import Pace
from kubesweep_controller.status.commands import CommandKind, annotation

__all__ = ["desired_pace"]


def desired_pace(plan: Plan, body: Mapping[str, Any]) -> Pace:
    """``plan``: the spec's own, not the one that the pods were started with. An invalid annotation changes nothing."""
    try:
        return plan.throttled(annotation(body, CommandKind.THROTTLE))
    except SpecError:
        return plan.pace
