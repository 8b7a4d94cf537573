"""The formats of a result: tables for people, one document for programs. docs/cli.md#output describes the documents.

A document of a list command is a list, also where it has one entry or none. Its names are those of the status in the cluster.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kubesweep.errors import SpecError
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["ACTIONS", "LISTS", "TABLE", "answer", "check_output", "print_document", "rendered", "structured"]

TABLE, WIDE, JSON, YAML = "table", "wide", "json", "yaml"
LISTS = (TABLE, WIDE, JSON, YAML)
ACTIONS = (TABLE, JSON, YAML)


def check_output(output: str, allowed: Sequence[str] = ACTIONS) -> str:
    """The format. Raises SpecError for another one than the ``allowed``."""
    if output not in allowed:
        choice = ", ".join(f"-o {each}" for each in allowed[:-1])
        raise SpecError("BadOutput", f"-o {output}: unknown output format.\nWrite {choice} or -o {allowed[-1]}.")
    return output


def structured(output: str) -> bool:
    """True where a program reads the result: stdout then has the document alone."""
    return output in (JSON, YAML)


def rendered(output: str, document: Any) -> str:
    """JSON on one line, or YAML, with a newline at the end. Both are ASCII, so they are safe on every terminal."""
    if output == JSON:
        return json.dumps(document) + "\n"
    import yaml

    return yaml.safe_dump(document, sort_keys=False, explicit_start=True, width=1 << 16)


def print_document(terminal: Terminal, output: str, document: Any) -> None:
    terminal.out.file.write(rendered(output, document))
    terminal.out.file.flush()


def answer(
    namespace: str,
    name: str,
    command: str,
    reason: str,
    message: str,
    *,
    refused: bool = False,
    rows: int | None = None,
    sweep: str | None = None,
) -> dict[str, Any]:
    """What became of a command, with the fields of ``status.answers`` in the cluster."""
    found = {
        "namespace": namespace,
        "name": name,
        "command": command,
        "outcome": "Refused" if refused else "Done",
        "reason": reason,
        "message": message,
        "rows": rows,
        "sweep": sweep or None,
    }
    return {field: value for field, value in found.items() if value is not None}
