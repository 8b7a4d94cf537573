"""Times, numbers and commands in the form that a status and an Event use. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from kubesweep.quantities import rows
from kubesweep.text import escaped
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


def annotate(body: Mapping[str, Any], command: str, **narrowed_by: str) -> str:
    """The kubectl command that sets a command's annotation, ready to paste. ``narrowed_by``: fields of its value besides the nonce."""
    namespace, name = namespaced_name(body)
    value = f"{GROUP}/{command}=$(date +%s)"
    if narrowed_by:
        fields = escaped(json.dumps(narrowed_by, ensure_ascii=False))
        before = shlex.quote(f'{GROUP}/{command}={fields[:-1]}, "nonce": "')
        value = f"""{before}$(date +%s)'"}}'"""
    return f"kubectl annotate sweepschedule {name} -n {namespace} --overwrite {value}"
