"""The tables of invalid specs in docs/errors.md, as data: the message for a file, and the message in a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DOCS = Path(__file__).parents[2] / "docs" / "errors.md"
SERVER_SIDE, IGNORE = "--server-side", "--validate=ignore"
WAYS = {
    "kubectl apply": ("--validate=strict",),
    IGNORE: (IGNORE,),
    SERVER_SIDE: (SERVER_SIDE, "--validate=strict"),
    f"{SERVER_SIDE} {IGNORE}": (SERVER_SIDE, IGNORE),
}


class Row(NamedTuple):
    """A change of a file and the message for it."""

    change: str
    code: str
    text: str

    @property
    def of_the_schedule(self) -> bool:
        """Whether the message is about the spec or the name, and not about a Secret, the file or kubectl."""
        return self.code != "SecretMissing" and all(
            re.match(r"-?spec\b|metadata\.name=", edit) for edit in self.change.split(" ; ")
        )


class ClusterRow(NamedTuple):
    """A change and the message for it in a cluster, for each way of applying it."""

    change: str
    applied: str
    ignoring: str
    server_side: str

    def message(self, way: str) -> str:
        if SERVER_SIDE in way:
            return self.server_side
        return self.ignoring if IGNORE in way else self.applied


def section(title: str) -> str:
    return DOCS.read_text().split(f"## {title}\n")[1].split("\n## ")[0]


def base() -> str:
    return section("Spec and files").split("```yaml\n")[1].split("```")[0]


def cells(title: str) -> list[list[str]]:
    """The cells of the table rows of a section whose first cell is code."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip().replace("\\|", "|") for cell in line] for line in lines]


def code(cell: str) -> str:
    return cell.removeprefix("`").removesuffix("`")


def rows() -> list[Row]:
    return [Row(*map(code, line)) for line in cells("Spec and files") if len(line) == 3]


def cluster_rows() -> list[ClusterRow]:
    """An empty cell means the same as the first way; ``condition`` alone means a condition with the text that a file gets."""
    of_file = {row.change: row.text for row in rows()}
    found = []
    for change, *says in cells("In a cluster"):
        edit = code(change)
        applied, *others = (message(cell, of_file[edit]) for cell in says)
        found.append(ClusterRow(edit, applied, *(other or applied for other in others)))
    return found


def message(cell: str, of_file: str) -> str:
    if cell == "condition":
        return f"condition {of_file}"
    text = cell.removeprefix("condition ")
    return ("condition " if text != cell else "") + "<br>".join(map(code, text.split("<br>")))


def change(documents: dict[str, Any], text: str) -> None:
    """``a.b.0=value`` sets, ``-a.b`` removes; paths start in the SweepSchedule, with ``Secret/`` in the Secret."""
    edit, _, value = text.partition("=")
    path = edit.removeprefix("-").removeprefix("Secret/").split(".")
    at = documents["Secret" if "Secret/" in edit else "SweepSchedule"]
    for step in path[:-1]:
        at = at[int(step) if isinstance(at, list) else step]
    last: Any = int(path[-1]) if isinstance(at, list) else path[-1]
    if edit.startswith("-"):
        del at[last]
    else:
        at[last] = yaml.safe_load(value)
