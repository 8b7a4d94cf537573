"""SweepSchedules that come from the API server.

They are checked again: an object may be older than the schema that it was checked by, or the schema older than this
program. And a field that the API server did not know, or that had no value, is gone without a word; where ``kubectl
apply`` left a copy of what was written, it is refused, because the limit or the DryRun that was meant would not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from kubesweep.api.loading import validation
from kubesweep.api.models.spec import API_VERSION, KIND, SweepSchedule
from kubesweep.api.problems import Path, Problem, SpecErrors, path_text

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
DEEPEST = 64  # levels of maps and lists, as in a file
_Model = TypeVar("_Model", bound=BaseModel)
_METADATA = ("name", "namespace", "uid", "generation")  # all else is Kubernetes' own, whatever comes to it one day


@dataclass(frozen=True)
class _Object:
    """Plain data without a file."""

    data: Any

    def problem(self, code: str, text: str, path: Path = (), *, key: bool = False, **more: Any) -> Problem:
        return Problem(code, text, path=path_text(path), **more)

    def written(self, path: Path) -> str | None:
        return None


def load_object(body: Mapping[str, Any]) -> SweepSchedule:
    """The schedule. ``body`` is an object as the API server gives it, alone or in a list; metadata that does not matter
    and the status are not looked at. Raises ``SpecErrors``, a problem a line, each with the path of its field."""
    data = _shallow(body)
    meta = data.get("metadata") or {}
    kept = {name: meta[name] for name in _METADATA if name in meta}
    # The items of a list have neither kind nor version.
    data = {"apiVersion": API_VERSION, "kind": KIND, **data, "metadata": kept}
    data.pop("status", None)
    made, problems = validation.parse(_Object(data), SweepSchedule)
    problems += [each for each in _dropped(meta) if each.path not in {known.path for known in problems}]
    if problems or made is None:
        raise SpecErrors(problems)
    return made


def read_plain(data: Any, model: type[_Model], path: str) -> _Model:
    """Plain data that is part of no SweepSchedule, as the model. ``path`` is where it stands, for messages. Raises ``SpecErrors``."""
    made, problems = validation.parse(_Object(_shallow(data)), model)
    if made is None:
        raise SpecErrors([replace(each, path=".".join(filter(None, (path, each.path)))) for each in problems])
    return made


def _shallow(data: Any) -> Any:
    if path := _too_deep(data):
        raise SpecErrors([Problem("TooDeep", f"nested deeper than {DEEPEST} levels", path=path_text(path[:6]))])
    return _plain(data)


_DROPPED = "unknown field, which the API server dropped (applied with --validate=ignore)"


def _dropped(meta: Mapping[str, Any]) -> list[Problem]:
    """Fields that were applied under a name that nobody knows, or without a value."""
    try:
        applied = json.loads((meta.get("annotations") or {}).get(APPLIED, "{}"))
    except (ValueError, RecursionError):
        return []
    if not isinstance(applied, dict) or applied.get("apiVersion") != API_VERSION or _too_deep(applied):
        return []
    _, problems = validation.parse(_Object({**applied, "metadata": {"name": "any"}}), SweepSchedule)
    return [
        replace(each, code="DroppedField", text=_DROPPED) if each.code == "UnknownField" else each
        for each in problems
        if each.code in ("UnknownField", "EmptyValue") and each.path.startswith("spec.")
    ]


def _too_deep(body: Any) -> Path:
    """Where the object is nested deeper than anything that is read here, if it is."""
    todo: list[tuple[Any, Path]] = [(body, ())]
    while todo:
        value, path = todo.pop()
        if isinstance(value, Mapping):
            inner: Iterable[tuple[str | int, Any]] = value.items()
        elif isinstance(value, list | tuple):
            inner = enumerate(value)
        else:
            continue
        if len(path) >= DEEPEST:
            return path
        todo += [(each, (*path, step)) for step, each in inner]
    return ()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
