"""Limits what one object can cost the controller: nesting, and memory.

The API server accepts objects with 10,000 levels (https://github.com/kubernetes/apimachinery/blob/master/pkg/util/json/json.go).
Comparing, copying or printing one recursively fails, and so would the list that contains it. And one megabyte of ``{"a":{},"b":{}}`` uses
26 MB in Python. So objects are trimmed on arrival, and only the fields in use are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from kubesweep.api.loading.objects import APPLIED, DEEPEST
from kubesweep_controller.children.names import SCHEDULE_LABEL
from kubesweep_controller.children.scaling import PAUSED_REPLICAS

PARSED = 12_000  # levels that can be parsed: the interpreter's recursion limit
CUT = "..."  # replaces what is nested too deep; load_object refuses such an object by its depth
MAX_SPEC_BYTES = 2 * 2**20  # bytes of a spec in memory: several times the largest plan and pod templates
SHORT = 200  # characters of a text that several objects may share
NODE = 100  # approximate bytes of a value besides its text
_META = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")
_COMMANDS = "kubesweep.dev/"
_LABELS = 200
_ANNOTATIONS = 50
_MANAGER = ("manager", "operation", "subresource", "time")


def limit_depth(value: Any, most: int = DEEPEST + 1) -> Any:
    """A copy of plain data with at most ``most`` levels of maps and lists. Works without recursion.

    Names and short texts are interned: thousands of objects have the same ones, and each parsed response has its own copies.
    """
    whole: list[Any] = [None]
    todo: list[tuple[Any, Any, Any, int]] = [(value, whole, 0, 0)]
    while todo:
        one, target, at, depth = todo.pop()
        if isinstance(one, str):
            target[at] = sys.intern(one) if len(one) <= SHORT else one
        elif not isinstance(one, dict | list):
            target[at] = one
        elif depth == most:
            target[at] = CUT
        elif isinstance(one, dict):
            target[at] = made = {sys.intern(name) if len(name) <= SHORT else name: None for name in one}
            todo += [(inner, made, name, depth + 1) for name, inner in one.items()]
        else:
            target[at] = listed = [None] * len(one)
            todo += [(inner, listed, number, depth + 1) for number, inner in enumerate(one)]
    return whole[0]


def estimated_bytes(value: Any, most: int) -> int:
    """Approximate bytes of plain data in memory. Counting stops above ``most``."""
    total, todo = 0, [value]
    while todo and total <= most:
        one = todo.pop()
        total += NODE
        if isinstance(one, str):
            total += len(one)
        elif isinstance(one, dict):
            total += sum(map(len, one))
            todo += one.values()
        elif isinstance(one, list):
            todo += one
    return total


def trim(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a SweepSchedule or a child that are used, limited in depth and size. Never raises. See :func:`is_truncated`."""
    made = {name: body[name] for name in ("apiVersion", "kind") if name in body}
    if isinstance(meta := body.get("metadata"), dict):
        made["metadata"] = _lean_metadata(meta)
    for name in ("spec", "status"):
        if name in body:
            light = estimated_bytes(body[name], MAX_SPEC_BYTES) <= MAX_SPEC_BYTES
            made[name] = limit_depth(body[name], DEEPEST) if light else placeholder(body[name])
    return made


def placeholder(part: Any) -> dict[str, Any]:
    """What replaces a spec or status that is too large."""
    known = part if isinstance(part, dict) else {}
    kept = {name: known[name] for name in ("replicas", "suspend") if isinstance(known.get(name), int)}
    return {CUT: CUT, **kept}


def is_truncated(part: Any) -> bool:
    """Whether it is the result of :func:`placeholder`."""
    return isinstance(part, dict) and part.get(CUT) == CUT


def _lean_metadata(meta: dict[str, Any]) -> dict[str, Any]:
    made = {name: limit_depth(meta[name], 2) for name in _META if name in meta}
    for name, most, chosen in (
        ("labels", _LABELS, (SCHEDULE_LABEL,)),
        ("annotations", _ANNOTATIONS, (APPLIED, PAUSED_REPLICAS)),
    ):
        values = meta.get(name)
        if not isinstance(values, dict):
            made |= {name: limit_depth(values, 2)} if name in meta else {}
            continue
        desired = [key for key in values if name == "labels" or key.startswith(_COMMANDS)][:most]
        made[name] = {key: values[key] for key in dict.fromkeys([*chosen, *desired]) if key in values}
    for name, of in (("ownerReferences", _is_of_use), ("managedFields", _is_ours)):
        if name in meta:
            values = meta[name]
            made[name] = list(filter(of, values))[:_ANNOTATIONS] if isinstance(values, list) else limit_depth(values, 2)
    if isinstance(made.get("managedFields"), list):
        made["managedFields"] = [
            {name: each[name] for name in _MANAGER if name in each} for each in made["managedFields"]
        ]
    return made


def _is_of_use(owner: Any) -> bool:
    return isinstance(owner, dict) and (owner.get("kind") == "SweepSchedule" or bool(owner.get("controller")))


def _is_ours(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("manager") == "kubesweep"
