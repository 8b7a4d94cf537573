"""Validates plain data, from files or the API server, with a model.

Errors of pydantic become problems with the place in the file, what is allowed, and the nearest name for a typo.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kubesweep.api.problems import MOST, Path, Problem, shown
from kubesweep.text import nearest_name

# Kubernetes checks these fields.
_FREE = frozenset({"resources", "env", "envFrom", "podTemplate"})
# Codes of fields that may have a password by mistake, so that the value is not shown.
_HIDDEN = frozenset({"BadUrl", "BadHost"})
_Object = TypeVar("_Object", bound=BaseModel)


class Origin(Protocol):
    """The source of the data: a document of a file, or an object of the API server."""

    @property
    def data(self) -> Any: ...

    def problem(self, code: str, text: str, path: Path = (), *, key: bool = False, **more: Any) -> Problem: ...

    def written(self, path: Path) -> str | None: ...


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
}


def parse(document: Origin, model: type[_Object], *, secret: bool = False) -> tuple[_Object | None, list[Problem]]:
    """The model, or None if it is invalid, and all problems. With ``secret`` no given value is shown."""
    empty = [] if secret else _empty_values(document)
    try:
        return model.model_validate(document.data), empty
    except ValidationError as error:
        found = _problems(document, model, error, secret=secret)
        # A field that contains an empty one often fails because of it: report only the empty one.
        return None, empty + [each for each in found if not any(one.path.startswith(each.path) for one in empty)]


def _problems(
    document: Origin, model: type[BaseModel], error: ValidationError, *, secret: bool = False
) -> list[Problem]:
    """A problem for each error of pydantic. With ``secret`` no given value is shown."""
    problems = []
    for each in error.errors(include_url=False)[: MOST + 1]:  # one more, so that SpecErrors says that there are more
        problems.append(_problem(document, model, each, secret))
    return problems


def _problem(document: Origin, model: type[BaseModel], error: ErrorDetails, secret: bool) -> Problem:
    path = tuple(step for step in error["loc"] if step != "[key]")  # pydantic marks an invalid key with this
    kind, given = error["type"], error["input"]
    hint: dict[str, Any] = {} if secret else {"given": _given(document, path, given)}
    if kind == "extra_forbidden":
        allowed = _names(_model_at(model, path[:-1]))
        more: dict[str, Any] = {"allowed": allowed, "nearest": nearest(str(path[-1]), allowed)}
        return document.problem("UnknownField", "unknown field", path, key=True, **more)
    if kind == "missing":
        about = _description(_model_at(model, path[:-1]), str(path[-1]))
        text = f"required, and missing. {about}" if about else "required, and missing"
        return document.problem("MissingField", text, path)
    if kind == "string_type":
        return document.problem("NotAString", _not_a_string(given), path, **hint)
    if kind in _TYPES:
        return document.problem("WrongType", f"must be {_TYPES[kind]}", path, **hint)
    if kind == "literal_error":
        choices = _choices(_model_at(model, path[:-1]), str(path[-1]))
        more = {**hint, "allowed": choices, "nearest": nearest(str(given), choices)}
        return document.problem("UnknownValue", "not one of the allowed values", path, **more)
    if "ctx" in error and "sentence" in error["ctx"]:
        scalar = isinstance(given, str) and f'"{given}"' not in error["msg"]
        return document.problem(kind, error["msg"], path, **(hint if scalar and kind not in _HIDDEN else {}))
    code = (
        "OutOfBounds" if kind.startswith(("greater", "less", "too_", "string_too", "int_parsing_size")) else "Invalid"
    )
    scalar = not isinstance(given, str | list | dict)
    return document.problem(code, _plain(error["msg"]), path, **(hint if scalar else {}))


def _given(document: Origin, path: Path, given: Any) -> str:
    written = None if given is None or isinstance(given, str) else document.written(path)
    return shown(given) if written is None else written[:60]


def _plain(message: str) -> str:
    text = re.sub(r"^(Input|String|List|Dictionary|Value) should", "must", message).replace(" after validation", "")
    return (
        text.replace("greater than or equal to", "be at least")
        .replace("less than or equal to", "be at most")
        .replace("be be", "be")
    )


def _not_a_string(given: Any) -> str:
    if isinstance(given, dict | list):
        return "must be text"
    return "must be text: put it into quotes" if given is not None else 'must be text; an empty text is ""'


def nearest(name: str, known: tuple[str, ...]) -> str:
    """The most similar name, or an empty text. A name in snake_case is compared with camelCase names."""
    return nearest_name(name.replace("_", ""), known, cutoff=0.7) or ""


def _names(model: type[BaseModel] | None) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items()) if model else ()


def _field(model: type[BaseModel] | None, alias: str) -> Any:
    return next((field for field in model.model_fields.values() if field.alias == alias), None) if model else None


def _description(model: type[BaseModel] | None, alias: str) -> str:
    field = _field(model, alias)
    return field.description or "" if field else ""


def _choices(model: type[BaseModel] | None, alias: str) -> tuple[str, ...]:
    field = _field(model, alias)
    return tuple(str(each) for each in get_args(field.annotation)) if field else ()


def _model_at(model: type[BaseModel] | None, path: Path) -> type[BaseModel] | None:
    """The model that describes the value at ``path``."""
    for step in path:
        if isinstance(step, int):
            continue
        field = _field(model, step)
        model = next(_models_in(field.annotation), None) if field else None
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _empty_values(document: Origin) -> list[Problem]:
    """A problem for each field of spec without a value: the API server would silently drop it, such as a limit."""
    if not isinstance(document.data, dict) or "spec" not in document.data:
        return []
    return [
        document.problem(
            "EmptyValue", "has no value: give one ({} for an empty map) or remove the line", path, key=True
        )
        for path in islice(_empty(document.data["spec"], ("spec",)), MOST + 1)
    ]


def _empty(value: Any, path: Path) -> Iterator[Path]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _FREE:
                yield from _empty(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _empty(inner, (*path, index))
