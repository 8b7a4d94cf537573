"""Loads SweepSchedules from the API server.

They are checked again, because the object may be older than the cluster's schema, or the schema older than this program.

The API server silently drops unknown fields and fields without a value. If ``kubectl apply`` left a copy of what was written,
such a field is refused: a limit or a DryRun would otherwise be ignored.
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
_METADATA = ("name", "namespace", "uid", "generation")  # all other fields belong to Kubernetes, which may add more


@dataclass(frozen=True)
class _Object:
    """Plain data without a file."""

    data: Any

    def problem(self, code: str, text: str, path: Path = (), *, key: bool = False, **more: Any) -> Problem:
        return Problem(code, text, path=path_text(path), **more)

    def written(self, path: Path) -> str | None:
        return None


def load_object(body: Mapping[str, Any]) -> SweepSchedule:
    """The schedule in ``body``, an object of the API server, alone or from a list.

    Other metadata and the status are ignored. Raises ``SpecErrors``, one problem a line, each with the path of its field.
    """
    data = _shallow(body)
    given = data.get("metadata")
    meta = given if isinstance(given, Mapping) else {}
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
    """Data outside of a SweepSchedule as ``model``. ``path`` is its place, for messages. Raises ``SpecErrors``."""
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
    """Fields that were applied with an unknown name or without a value."""
    try:
        applied = json.loads((meta.get("annotations") or {}).get(APPLIED, "{}"))
    except (
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ):  # annotations are no map of texts, or the text is no JSON
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
    """The path at which the object is nested too deeply, or an empty one."""
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
