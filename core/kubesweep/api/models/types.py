"""The types of the texts in a SweepSchedule.

Each type checks its text and reports a problem in one sentence, with a stable code (docs/errors.md). It has the same bounds in
its JSON schema, from which crd.py makes the schema of the cluster. There a shape is a rule and not a ``pattern``, for which the
API server would show the regular expression.

YAML names are camelCase. Unknown fields are refused, because ignoring a typo could make a sweep match more rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, JsonValue
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from kubesweep import durations
from kubesweep.api.models import cel
from kubesweep.api.models.pod_shape import QUANTITY, QUANTITY_HELP, is_quantity
from kubesweep.api.models.sql_text import MAX_SQL_LENGTH, check_sql
from kubesweep.text import MAX_TEXT
from kubesweep.ticks import find_zone

IDENTIFIER_BYTES = 63
_CUT = f"PostgreSQL would truncate it to {IDENTIFIER_BYTES} and find another name"
_DNS = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


def refuse(code: str, sentence: str) -> PydanticCustomError:
    """An error of this code. Braces in the sentence are plain text."""
    return PydanticCustomError(code, "{sentence}", {"sentence": sentence})


def exactly_one(model: Model, *names: str) -> None:
    """Refuse a model that has none or several of these fields (YAML names)."""
    given = [alias for alias in names if _value(model, alias) is not None]
    if not given:
        raise refuse("NoneOf", f"needs exactly one of {', '.join(names)}; none is given")
    if len(given) > 1:
        raise refuse("SeveralOf", f"needs exactly one of {', '.join(names)}; {' and '.join(given)} are given")


def _value(model: Model, alias: str) -> Any:
    return next(getattr(model, name) for name, known in type(model).model_fields.items() if known.alias == alias)


class Checked:
    """For ``Annotated[str, ...]``: ``check`` raises, and ``schema`` has the same condition for the API server."""

    def check(self, text: str) -> str:
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), **self.schema()}


@dataclass(frozen=True)
class Shape(Checked):
    """Text that matches ``pattern`` as a whole. ``sentence`` says what is allowed.

    With ``echo`` False the API server does not show the given text, which may be a password by mistake.
    """

    code: str
    pattern: str
    most: int
    sentence: str
    echo: bool = True

    def check(self, text: str) -> str:
        if len(text) > self.most:
            raise refuse(self.code, f"has {len(text)} characters; {self.sentence}, at most {self.most} characters")
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise refuse(self.code, self.sentence)
        return text

    def schema(self) -> dict[str, Any]:
        rule = (cel.rule if self.echo else cel.forbidden)(cel.matches(f"^{self.pattern}$"), self.sentence)
        return {"minLength": 1, "maxLength": self.most, cel.RULES: [rule]}


@dataclass(frozen=True)
class Duration(Checked):
    """A duration between two others, inclusive. The model has the text, and the plan has seconds."""

    least: str
    most: str

    def check(self, text: str) -> str:
        try:
            seconds = durations.parse_duration(text)
        except ValueError as error:
            raise refuse("BadDuration", str(error)) from None
        if not durations.parse_duration(self.least) <= seconds <= durations.parse_duration(self.most):
            raise refuse("DurationOutOfBounds", f'"{text}" is not between {self.least} and {self.most}')
        return text

    def schema(self) -> dict[str, Any]:
        return {"maxLength": durations.MAX_LENGTH, cel.RULES: cel.duration(self.least, self.most)}


@dataclass(frozen=True)
class Plain(Checked):
    """Any text that a database can store. ``also`` raises ValueError for any other problem."""

    most: int
    least: int = 0
    code: str = "BadText"
    also: Callable[[str], None] | None = None
    rules: tuple[cel.Rule, ...] = field(default=(), hash=False)

    def check(self, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise refuse("BadText", "is not valid Unicode: it holds half of a surrogate pair") from None
        if "\0" in text:
            raise refuse("BadText", "has a NUL character, which databases do not accept")
        if self.least and not text:
            raise refuse(self.code, "must not be empty")
        if not self.least <= len(text) <= self.most:
            raise refuse(self.code, f"has {len(text)} characters; allowed are {self.least} to {self.most}")
        if self.also:
            try:
                self.also(text)
            except ValueError as error:
                raise refuse(self.code, str(error)) from None
        return text

    def schema(self) -> dict[str, Any]:
        return {
            "minLength": self.least,
            "maxLength": self.most,
            **({cel.RULES: list(self.rules)} if self.rules else {}),
        }


class _ColumnValue(Plain):
    """A value of a column. An integer needs no quotes, because JSON keeps it.

    JSON does not keep the digits of a decimal, or a ``yes`` that was meant as text.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = super().__get_pydantic_core_schema__(source, handler)
        return core_schema.no_info_before_validator_function(self._text, checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"x-kubernetes-int-or-string": True, **self.schema()}

    @staticmethod
    def _text(given: Any) -> Any:
        if type(given) is not int:
            return given
        if not -(2**63) <= given < 2**63:
            raise refuse("NotAString", "an integer beyond 64 bits loses digits in a cluster: put it into quotes")
        return str(given)


@dataclass(frozen=True)
class _Amount(Checked):
    """A Kubernetes quantity, which may also be a number.

    To accept a decimal, the field must have no type in the API server. It can have no rule then, and a ``pattern`` applies only
    to texts.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = super().__get_pydantic_core_schema__(source, handler)
        return core_schema.no_info_before_validator_function(self._text, checked)

    @staticmethod
    def _text(given: Any) -> Any:
        return str(given) if type(given) in (int, float) else given

    def check(self, text: str) -> str:
        if len(text) > 32 or not is_quantity(text):
            raise refuse("BadQuantity", QUANTITY_HELP)
        return text

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"x-kubernetes-preserve-unknown-fields": True, "maxLength": 32, "pattern": f"^{QUANTITY}$"}


class _Identifier(Plain):
    """Any name that PostgreSQL does not truncate. It may have any characters, because it is quoted wherever it is used."""

    def check(self, text: str) -> str:
        super().check(text)
        size = len(text.encode())
        if size > IDENTIFIER_BYTES:
            raise refuse(self.code, f"has {size} bytes; {_CUT}")
        return text

    def schema(self) -> dict[str, Any]:
        size = cel.rule(f"bytes(self).size() <= {IDENTIFIER_BYTES}", f"has more than {IDENTIFIER_BYTES} bytes; {_CUT}")
        return {"minLength": 1, "maxLength": IDENTIFIER_BYTES, cel.RULES: [size]}


_BEFORE = re.compile(r"now(?:-(.+))?", re.DOTALL)
_MAX_AGE = "36500d"


def before_offset(text: str) -> float:
    """Seconds before the cutoff: 0 for ``now``, 1800 for ``now-30m``. Raises ValueError or a pydantic error."""
    found = _BEFORE.fullmatch(text)
    if not found:
        raise refuse("BadBefore", 'write "now" or "now-<duration>", such as "now-30m"')
    return durations.parse_duration(Duration("0s", _MAX_AGE).check(found.group(1))) if found.group(1) else 0.0


@dataclass(frozen=True)
class _BeforeShape(Checked):
    def check(self, text: str) -> str:
        before_offset(text)
        return text

    def schema(self) -> dict[str, Any]:
        return {"maxLength": len("now-") + durations.MAX_LENGTH, cel.RULES: cel.age(_MAX_AGE)}


ScheduleName = Annotated[
    str, Shape("BadName", _DNS, 45, "must be a DNS label: a-z, 0-9 and -, starting and ending with a letter or digit")
]
Namespace = Annotated[
    str, Shape("BadName", _DNS, 63, "must be a DNS label: a-z, 0-9 and -, starting and ending with a letter or digit")
]
ObjectName = Annotated[
    str,
    Shape(
        "BadName",
        rf"{_DNS}(\.{_DNS})*",
        253,
        "must be a Kubernetes name: a-z, 0-9, - and ., such as support-db",
        echo=False,
    ),
]
SecretKey = Annotated[
    str, Shape("BadName", r"[-._a-zA-Z0-9]+", 253, "must be a key of a Secret: letters, digits, - _ .", echo=False)
]
Uid = Annotated[str, Shape("BadName", r"[-a-zA-Z0-9]+", 64, "must be a UUID as Kubernetes gives it")]
Handler = Annotated[
    str,
    Shape(
        "BadHandler",
        r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*",
        253,
        'must be "package.module:function", such as support.sweeps:close_idle',
    ),
]
Image = Annotated[str, Shape("BadImage", r"[^\s\x00-\x1f]+", 512, "must be an image reference without blanks")]
Quantity = Annotated[str, Plain(most=32, least=1)]
Identifier = Annotated[str, _Identifier(most=MAX_TEXT, least=1, code="BadIdentifier")]
Value = Annotated[str, Plain(most=MAX_TEXT)]
Amounts = Annotated[dict[str, Annotated[str, _Amount()]], Field(max_length=16)]
ColumnValue = Annotated[str, _ColumnValue(most=MAX_TEXT)]
Sql = Annotated[str, Plain(most=MAX_SQL_LENGTH, least=1, code="BadSql", also=check_sql)]
Before = Annotated[str, _BeforeShape()]

# Copied into the pod template unchanged: Kubernetes checks them.
_FREE = {"x-kubernetes-preserve-unknown-fields": True}
FreeMap = Annotated[dict[str, JsonValue], Field(max_length=64, json_schema_extra={"type": "object", **_FREE})]
FreeItem = Annotated[dict[str, JsonValue], Field(max_length=16, json_schema_extra={"type": "object", **_FREE})]
FreeList = Annotated[list[FreeItem], Field(max_length=128)]


def known_zone(name: str) -> str:
    """The name of an IANA zone. Raises a pydantic error for an unknown one."""
    try:
        find_zone(name)
    except ValueError as error:
        raise refuse("UnknownTimeZone", str(error)) from None
    return name


def no_repeats(names: list[str]) -> list[str]:
    """The names of columns. Raises a pydantic error where one is named twice."""
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise refuse("Repeated", f'the column "{twice[0]}" is named twice')
    return names


NAMED_TWICE = "names a column twice: remove one"
NO_REPEATS = cel.schema(cel.distinct(NAMED_TWICE))
