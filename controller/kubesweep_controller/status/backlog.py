"""``status.backlog``: the stale rows that are not finished, and when they will be. Pure.

Rates are rounded, and times are moments, so that the field changes only while rows do. :mod:`kubesweep.backlog` has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep_controller.status.formatting import time_text
from kubesweep_controller.status.observation import Observation

__all__ = ["backlog_status"]


def backlog_status(observation: Observation, before: Mapping[str, Any]) -> dict[str, Any] | None:
    """``before``: the status that was written last. Its numbers stay while the queue does not respond, and ``observedTime`` as long as
    the others do not change."""
    old: dict[str, Any] | None = before.get("backlog")
    if observation.stats is None:
        return old
    if observation.backlog is None:
        return None
    fields = observation.backlog.fields(time_text)
    if old is not None and fields == {name: value for name, value in old.items() if name != "observedTime"}:
        return old
    return {**fields, "observedTime": time_text(int(observation.now))}
