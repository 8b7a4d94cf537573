"""docs/values.md: every value of the chart with its default and, as the description, its comment in values.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

VALUES = Path(__file__).parents[1] / "charts" / "kubesweep" / "values.yaml"
HEAD = """# Values of the chart

Made by `make generate` from [values.yaml](../charts/kubesweep/values.yaml); how they go together is in [install.md](install.md). A misspelt
key is refused. Keys of Kubernetes objects (resources, affinity, ...) are as in a pod.
"""


class Value(NamedTuple):
    key: str
    default: str
    description: str


def page() -> str:
    lines = VALUES.read_text(encoding="utf-8").splitlines()
    sections: dict[str, list[Value]] = {}
    root = yaml.compose("\n".join(lines))
    if not isinstance(root, yaml.MappingNode):
        raise ValueError(f"{VALUES.name} is no mapping")
    for value in _values(root, lines, ""):
        first, dot, _ = value.key.partition(".")
        sections.setdefault(first if dot else "", []).append(value)
    text = HEAD
    for name, values in sorted(sections.items(), key=lambda item: item[0] != ""):
        text += f"\n## {name or 'General'}\n\n| value | default | what it is |\n|---|---|---|\n"
        for value in values:
            text += f"| `{value.key}` | `{_cell(value.default)}` | {_cell(value.description)} |\n"
    return text


def _values(mapping: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[Value]:
    """A value for each key with a comment of its own. Raises ``ValueError`` for a key without a comment."""
    for key, value in mapping.value:
        name, description = f"{prefix}{key.value}", _comment(lines, key.start_mark.line)
        parts = isinstance(value, yaml.MappingNode) and not value.flow_style
        if parts and (not description or any(_comment(lines, k.start_mark.line) for k, _ in value.value)):
            yield from _values(value, lines, f"{name}.")
        elif description:
            yield Value(name, json.dumps(_plain(value), ensure_ascii=False), description)
        else:
            raise ValueError(f"{VALUES.name}: {name} has no comment that says what it is")


def _comment(lines: list[str], line: int) -> str:
    words = []
    while line and (above := lines[line - 1].strip()).startswith("#"):
        words.append(above.lstrip("# "))
        line -= 1
    return " ".join(reversed(words))


def _plain(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
