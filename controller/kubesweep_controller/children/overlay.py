"""Lays one part of an object over another, as Kubernetes' strategic merge patch does. Pure: nothing is changed in place.

- Maps are merged key by key. null removes a field; in a new map or element there is nothing to remove, so the result has no null.
- Lists whose elements have a known merge key are merged element by element. Any other list is replaced as a whole.
- A volume has one source: an element with another source replaces it, as ``retainKeys`` does in Kubernetes.
- An element of ``env`` replaces the one of the same name as a whole.
- Two mounts at one path are the same, with or without a trailing slash.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from kubesweep.api.models.pod_shape import MERGE_KEYS


def merge(base: Any, over: Any, field: str = "") -> Any:
    """``over`` laid over ``base``. ``field`` is the name of the field that contains both."""
    if isinstance(over, Mapping):
        base = base if isinstance(base, Mapping) else {}
        merged = {name: value for name, value in base.items() if over.get(name, value) is not None}
        for name, value in over.items():
            if value is not None:
                merged[name] = merge(base.get(name), value, name)
        return merged
    key = MERGE_KEYS.get(field)
    if key and isinstance(over, list):
        return _merge_lists(base if isinstance(base, list) else [], over, key, field)
    return over


def _merge_lists(base: Sequence[Any], over: Sequence[Any], key: str, field: str) -> list[Any]:
    known = {_name(each, key): each for each in over}
    names = {_name(each, key) for each in base}
    if None in names | known.keys():  # a list of something else in a field of this name
        return list(over)
    merged = [
        _one(each, known[name], field) if (name := _name(each, key)) in names & known.keys() else each for each in base
    ]
    return merged + [merge(None, each) for each in over if _name(each, key) not in names]


def _one(base: Mapping[str, Any], over: Mapping[str, Any], field: str) -> Any:
    if field == "env" and over.keys() & {"value", "valueFrom"}:
        base = {"name": base["name"]}
    if field == "volumes":
        brought = {name for name, value in over.items() if value is not None} - {"name"}
        if brought and not brought & base.keys():
            base = {"name": base["name"]}
    return merge(base, over)


def _name(element: Any, key: str) -> str | None:
    if not (isinstance(element, Mapping) and key in element):
        return None
    return posixpath.normpath(element[key]) if key == "mountPath" and element[key] else str(element[key])


def without_empty(value: Any) -> Any:
    """The value without empty lists and nulls. The API server drops them, so each apply would seem to change the object.

    An empty map stays, because it expresses a choice ({} of an emptyDir).
    """
    if isinstance(value, Mapping):
        cleaned = {name: without_empty(each) for name, each in value.items()}
        return {name: each for name, each in cleaned.items() if each is not None and each != []}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_empty(each) for each in value]
    return value
