"""Kubesweep finds rows that have become stale in a database, and processes each of them.

This module has the public names. Each is imported at its first use, so that a program loads only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kubesweep.errors import (
    KubesweepError,
    LeaseLost,
    Outage,
    Reject,
    RetryAfter,
    RowError,
    Skip,
    SpecError,
    SweepFailure,
)

if TYPE_CHECKING:
    from kubesweep.api.compile import compile_plan
    from kubesweep.api.loading.files import Loaded, load
    from kubesweep.api.loading.objects import load_object
    from kubesweep.api.models.spec import SweepSchedule
    from kubesweep.api.plan import Plan
    from kubesweep.api.problems import Problem, SpecErrors

_MODULES = {
    "Loaded": "kubesweep.api.loading.files",
    "Plan": "kubesweep.api.plan",
    "Problem": "kubesweep.api.problems",
    "SpecErrors": "kubesweep.api.problems",
    "SweepSchedule": "kubesweep.api.models.spec",
    "compile_plan": "kubesweep.api.compile",
    "load": "kubesweep.api.loading.files",
    "load_object": "kubesweep.api.loading.objects",
}

__all__ = [
    "KubesweepError",
    "LeaseLost",
    "Loaded",
    "Outage",
    "Plan",
    "Problem",
    "Reject",
    "RetryAfter",
    "RowError",
    "Skip",
    "SpecError",
    "SpecErrors",
    "SweepFailure",
    "SweepSchedule",
    "compile_plan",
    "load",
    "load_object",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
