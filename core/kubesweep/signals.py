"""The signals of ``source.health`` that workers measured last, in the shape of ``status.signals``. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubesweep.api.models.status import MAX_SIGNALS
from kubesweep.queue.model import Finding, Signal, Stats
from kubesweep.text import clip
from kubesweep.timestamps import clamp_time

__all__ = ["LONGEST", "percent_of", "signal_entries"]

LONGEST = 128  # characters of a text


def signal_entries(stats: Stats, now: float, text: Callable[[float], str]) -> list[dict[str, Any]]:
    """Empty where nothing was measured lately. ``text`` writes a time in whole seconds."""
    finding = stats.measured(now)
    return [] if finding is None else [_entry(finding, each, text) for each in finding.signals[:MAX_SIGNALS]]


def percent_of(factor: float) -> int:
    """The share of the full speed. Other programs may write to the queue."""
    return round(100 * min(1.0, max(0.0, factor)))


def _entry(finding: Finding, signal: Signal, text: Callable[[float], str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": clip(signal.name, LONGEST), "limit": clip(signal.limit, LONGEST)}
    if signal.value:
        entry["value"] = clip(signal.value, LONGEST)
    since = clamp_time(finding.at - max(0.0, signal.seconds)) or 0.0
    return {**entry, "percent": percent_of(signal.factor), "since": text(int(since))}
