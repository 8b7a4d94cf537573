"""Checks the shape of the overlay for a pod template: maps and lists of named elements where Kubernetes has them.

Kubernetes checks the values. The controller merges the overlay before that, so its shape is checked here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# Lists whose elements are merged by name -> the field that has the name.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
_MAPS = ("nodeSelector", "affinity", "securityContext", "dnsConfig", "resources", "os")
_LISTS = ("tolerations", "readinessGates", "schedulingGates", "envFrom", "command", "args")
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
QUANTITY_HELP = 'write a quantity of Kubernetes, such as 500m, 0.5, 256Mi or 1G (not "512MB")'
LARGEST = 65_536  # characters of JSON


def template_problem(template: Mapping[str, Any]) -> str | None:
    """The first problem of a pod template's shape or size, such as ``metadata.labels: must be a map``, or None."""
    size = len(json.dumps(template))
    if size > LARGEST:
        return f"has {size} characters as JSON; at most {LARGEST} are taken"
    return next(_problems(template), None)


def _problems(template: Mapping[str, Any]) -> Iterator[str]:
    for name in ("metadata", "spec"):
        if not isinstance(template.get(name, {}), Mapping | None):
            yield f"{name}: must be a map"
            return
    for name in template.keys() - {"metadata", "spec"}:
        yield f"{name}: a pod template has metadata and spec"
    meta = template.get("metadata") or {}
    for name in ("labels", "annotations"):
        values = meta.get(name) or {}
        if not isinstance(values, Mapping):
            yield f"metadata.{name}: must be a map"
        elif wrong := next((key for key, value in values.items() if not isinstance(value, str | None)), None):
            yield f"metadata.{name}.{wrong}: must be text: put it into quotes"
    spec = template.get("spec") or {}
    if "containers" in spec and spec["containers"] is None:
        yield "spec.containers: null would remove the pod's own container too; leave the field out"
    yield from _fields(spec, "spec")
    for kind in ("containers", "initContainers"):
        for number, container in enumerate(spec.get(kind) or ()):
            yield from _fields(container, f"spec.{kind}[{number}]")


def _fields(data: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, value in data.items():
        where = f"{path}.{name}"
        if value is None:
            continue
        if name in _MAPS and not isinstance(value, Mapping):
            yield f"{where}: must be a map"
        elif name in _LISTS and not isinstance(value, list):
            yield f"{where}: must be a list"
        elif key := MERGE_KEYS.get(name):
            if not isinstance(value, list):
                yield f"{where}: must be a list"
                return
            yield from _elements(value, where, key)
        elif name == "resources":
            yield from (f"{where}.{odd}" for odd in _odd_resources(value))


def _elements(value: list[Any], where: str, key: str) -> Iterator[str]:
    for number, each in enumerate(value):
        if not isinstance(each, Mapping):
            yield f"{where}[{number}]: must be a map"
            return
        named = each.get(key)
        if not isinstance(named, int if key == "containerPort" else str) or isinstance(named, bool):
            yield f"{where}[{number}].{key}: required, {'a number' if key == 'containerPort' else 'text'}"
            return


def is_quantity(value: object) -> bool:
    """True for a text or number that Kubernetes reads as a quantity."""
    if isinstance(value, str):
        return re.fullmatch(QUANTITY, value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _odd_resources(resources: Mapping[str, Any]) -> Iterator[str]:
    """Problems such as ``limits.memory: write a quantity ...``."""
    for name in ("limits", "requests"):
        amounts = resources.get(name) or {}
        if not isinstance(amounts, Mapping):
            yield f"{name}: must be a map"
            continue
        for what, amount in amounts.items():
            if not is_quantity(amount):
                yield f"{name}.{what}: {QUANTITY_HELP}"
