"""docs/api.md: every field of a SweepSchedule, from the CRD's schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kubesweep.api.crd import custom_resource_definition
from kubesweep.api.models import cel

Schema = dict[str, Any]

HEAD = """\
# SweepSchedule: every field

Made by `make generate` from the models in `core/kubesweep/api`, which are also what the cluster's schema is made from;
`kubectl explain sweepschedule.spec --recursive` prints the same. Durations are whole numbers with a unit (`ms`, `s`, `m`, `h`,
`d`), the largest unit first: `300ms`, `1h30m`. [concepts.md](concepts.md) has the words, [errors.md](errors.md) what is refused.
"""
TABLE = "| field | type | default | |\n|---|---|---|---|\n"


def page() -> str:
    """The whole page."""
    definition = custom_resource_definition()["spec"]
    version = definition["versions"][0]
    fields = version["schema"]["openAPIV3Schema"]["properties"]
    parts = [
        HEAD,
        _names(definition),
        f"`metadata.name`: {_text(fields['metadata']['properties']['name']['description'])}",
    ]
    for path in ("spec", "status"):
        parts += _sections(path, fields[path])
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _names(definition: Schema) -> str:
    names, version = definition["names"], definition["versions"][0]
    columns = [each["name"] for each in version["additionalPrinterColumns"] if not each.get("priority")]
    wide = [each["name"] for each in version["additionalPrinterColumns"] if each.get("priority")]
    short = ", ".join(f"`{each}`" for each in names["shortNames"])
    return (
        f"`apiVersion: {definition['group']}/{version['name']}`, `kind: {names['kind']}`; for kubectl also {short}. "
        f"`kubectl get sweep` shows {', '.join(columns)}; with `-o wide` also {', '.join(wide)}."
    )


def _sections(path: str, schema: Schema) -> Iterator[str]:
    """One table for each object that has fields, outer ones first."""
    inner = schema.get("items", schema)
    if "properties" not in inner:
        return
    head = f"## {path}\n\n{_text(inner['description'])}\n\n"
    rows = "".join(_row(name, each, name in inner.get("required", ())) for name, each in inner["properties"].items())
    rules = list(dict.fromkeys(_rule(each) for each in inner.get(cel.RULES, ())))
    refused = "\n\nRules:\n\n" + "\n".join(rules) if rules else ""
    yield head + TABLE + rows.rstrip() + refused
    for name, each in inner["properties"].items():
        yield from _sections(f"{path}.{name}" + ("[]" if "items" in each else ""), each)


def _rule(rule: Schema) -> str:
    field = str(rule.get("fieldPath", "")).removeprefix(".")
    text = _text(rule["message"].split("; none ")[0].split("; both ")[0].split("; several ")[0])
    return f"- `{field}`: {text}" if field else f"- {text}"


def _row(name: str, schema: Schema, required: bool) -> str:
    default = schema.get("default")
    shown = (
        "**required**" if required else "" if default is None or isinstance(default, dict) else f"`{_plain(default)}`"
    )
    return f"| `{name}` | {_type(schema)} | {shown} | {_text(schema['description'])} |\n"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _type(schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "string or integer"
    if "items" in schema:
        return f"list of {_type(schema['items']).replace(' or ', 's or ')}s"
    if "enum" in schema:
        return " \\| ".join(f"`{each}`" for each in schema["enum"])
    if any("ms, s, m, h, d" in rule["message"] for rule in schema.get(cel.RULES, ())):
        return "duration"
    if schema.get("format") == "date-time":
        return "time"
    return "map" if schema["type"] == "object" else str(schema["type"])


def _text(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("*/5 * * * *", "\\*/5 \\* \\* \\* \\*")
