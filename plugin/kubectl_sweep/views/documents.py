"""Objects of the cluster for programs: ``-o json``, ``-o yaml`` and ``-o name``, as kubectl prints them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from kubectl_sweep.cluster.kinds import SCHEDULES
from kubesweep.errors import SpecError
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["as_list", "as_text", "check_output", "full_name", "show", "without_managed_fields"]

INDENT = 4  # as kubectl


def check_output(output: str, allowed: Sequence[str]) -> None:
    """Raise SpecError for a format that the verb does not have."""
    if output and output not in allowed:
        raise SpecError("BadOutput", f"-o {output}: unknown output format.\nWrite -o {', -o '.join(allowed)}.")


def without_managed_fields(found: Mapping[str, Any]) -> dict[str, Any]:
    meta = {name: each for name, each in found["metadata"].items() if name != "managedFields"}
    return {**found, "metadata": meta}


def as_list(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    items = [without_managed_fields(each) for each in objects]
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}


def as_text(document: Mapping[str, Any], output: str) -> str:
    """Both formats escape what is not ASCII, so that nothing in them moves a cursor and nothing is lost."""
    if output == "json":
        return json.dumps(document, indent=INDENT)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, where PyYAML has it
    return str(yaml.dump(document, Dumper=dumper, sort_keys=True)).rstrip("\n")


def show(terminal: Terminal, document: Mapping[str, Any], output: str) -> None:
    terminal.line(as_text(document, output))


def full_name(found: Mapping[str, Any]) -> str:
    """``sweepschedule.kubesweep.dev/NAME``, which kubectl accepts."""
    return f"{SCHEDULES.kind.lower()}.{SCHEDULES.group}/{found['metadata']['name']}"
