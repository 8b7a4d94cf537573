"""What the command lines of the benchmarks have in common: ``--smoke`` shows that everything runs, ``--json`` writes all figures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def make_parser(name: str, doc: str | None, smoke: str) -> argparse.ArgumentParser:
    """``name``: of the module, without the package. ``doc``: its docstring. ``smoke``: what is smaller in such a run."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=(doc or "").split("\n\n")[0])
    parser.add_argument("--smoke", action="store_true", help=f"{smoke}: shows that everything runs")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser


def options_of(given: dict[str, Any], full: T, smoke: T) -> tuple[T, Path | None]:
    """The options ``full`` or ``smoke``, with what was given, and the file for all figures."""
    start, file = smoke if given.pop("smoke") else full, given.pop("json")
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return replace(start, **{name: value for name, value in changes.items() if value is not None}), file


def write_figures(file: Path | None, figures: Mapping[str, object]) -> None:
    if file is not None:
        file.write_text(json.dumps(figures, indent=2) + "\n")
