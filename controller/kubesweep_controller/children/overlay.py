"""Laying one part of an object over another, the way Kubernetes' strategic merge does it. Pure; nothing is changed in place.

Maps are merged key by key; lists whose elements have a known name are merged element by element; any other list is
replaced as a whole. null removes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubesweep.api.podshape import MERGE_KEYS


def merge(base: Any, over: Any, field: str = "") -> Any:
    """``over`` laid over ``base``. ``field`` is the name of the field that both are the value of."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        merged = {name: value for name, value in base.items() if over.get(name, value) is not None}
        for name, value in over.items():
            if value is not None:
                merged[name] = merge(base.get(name), value, name)
        return merged
    key = MERGE_KEYS.get(field)
    if key and isinstance(base, list) and isinstance(over, list):
        return _merge_lists(base, over, key)
    return over


def _merge_lists(base: Sequence[Any], over: Sequence[Any], key: str) -> list[Any]:
    known = {_name(each, key): each for each in over}
    names = {_name(each, key) for each in base} - {None}
    merged = [merge(each, known[name]) if (name := _name(each, key)) in names & known.keys() else each for each in base]
    return merged + [each for each in over if _name(each, key) not in names]


def _name(element: Any, key: str) -> str | None:
    return str(element[key]) if isinstance(element, Mapping) and key in element else None


def without_empty(value: Any) -> Any:
    """The value without empty lists and nulls: the API server drops them, so each apply of one would change the object.

    An empty map stays: it stands for a choice ({} of an emptyDir).
    """
    if isinstance(value, Mapping):
        cleaned = {name: without_empty(each) for name, each in value.items()}
        return {name: each for name, each in cleaned.items() if each is not None and each != []}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_empty(each) for each in value]
    return value
