"""Times, numbers and commands in the form that a status and an Event use. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.quantities import rows
from kubesweep.timestamps import parse_time, time_text

__all__ = ["annotate", "generation_of", "namespaced_name", "parse_time", "rows", "time_text"]

GROUP = "kubesweep.dev"


def mebibytes(number: int) -> str:
    return f"{number / 2**20:,.0f} MiB"


def namespaced_name(body: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name of an object."""
    meta = body.get("metadata", {})
    return str(meta.get("namespace", "default")), str(meta.get("name", ""))


def generation_of(body: Mapping[str, Any]) -> int:
    return int(body.get("metadata", {}).get("generation", 0))


def annotate(body: Mapping[str, Any], command: str) -> str:
    """The kubectl command that sets a command's annotation, ready to paste."""
    namespace, name = namespaced_name(body)
    return f"kubectl annotate sweepschedule {name} -n {namespace} --overwrite {GROUP}/{command}=$(date +%s)"
