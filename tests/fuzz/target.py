"""A target of fuzzing: how its inputs are made, and what must hold for each of them.

A case is plain data (what JSON has, and bytes), so that it can be saved, read by a person and run again. Everything that a check needs
besides the case is made by the check.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

__all__ = ["Case", "Target", "decode_case", "encode_case"]

Case = Any
BYTES = "$bytes"  # marks bytes in JSON, each as the character of its number


@dataclass(frozen=True)
class Target:
    """``check`` raises for a defect; AssertionError where a property does not hold."""

    name: str
    cases: st.SearchStrategy[Case]
    check: Callable[[Case], None]
    chunk: int = 100  # cases between two looks at the clock
    seconds: int = 10  # of processor time that one case may take; a case that needs more is a defect


def encode_case(case: Case) -> str:
    """The case as readable JSON. Tuples become lists."""
    return json.dumps(case, indent=1, default=_encoded, ensure_ascii=True) + "\n"


def decode_case(text: str) -> Case:
    return json.loads(text, object_hook=_decoded)


def _encoded(value: object) -> object:
    if isinstance(value, bytes):
        return {BYTES: value.decode("latin-1")}
    raise TypeError(f"a case consists of plain data, not of {type(value).__name__}")


def _decoded(value: dict[str, Any]) -> object:
    return value[BYTES].encode("latin-1") if value.keys() == {BYTES} else value
