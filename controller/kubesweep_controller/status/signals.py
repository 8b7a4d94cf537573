"""``status.signals``: what the signals of ``source.health`` are at, also while none of them slows the sweep down. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.signals import signal_entries
from kubesweep_controller.status.formatting import time_text
from kubesweep_controller.status.observation import Observation

__all__ = ["signals_of"]


def signals_of(observation: Observation, before: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """``before``: the status that was written last. While the queue does not respond, its signals stay.

    Each worker reports since when it has seen a signal where it is. The earliest of these times counts."""
    known: list[dict[str, Any]] = before.get("signals") or []
    if observation.stats is None:
        return known or None
    since = {_essence(each): str(each.get("since")) for each in known}
    found = signal_entries(observation.stats, observation.now, time_text)
    return [{**each, "since": min(each["since"], since.get(_essence(each), each["since"]))} for each in found] or None


def _essence(signal: Mapping[str, Any]) -> tuple[object, ...]:
    return signal.get("name"), signal.get("percent"), signal.get("limit")
