"""Every code that the product can print has a row in docs/errors.md. The codes come from the source, because the tests of each section check only
existing rows."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from kubesweep.queue.model import HALTING
from kubesweep_controller.status.history import LOST_REASON
from kubesweep_worker.sources.postgres import sqlstates
from kubesweep_worker.sources.sqlite import errors

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "errors.md").read_text()
# Callable: the position of the argument that holds a code.
RAISED = {
    "SpecError": 0, "SweepFailure": 0, "Outage": 0, "ScopeOutage": 0, "ApiOutage": 0, "Damaged": 0, "RowError": 0, "Problem": 0,
    "refuse": 0, "Shape": 0, "Plain": 3, "_ColumnValue": 3, "_Identifier": 3, "FailedRow": 1, "Failure": 1, "Finding": 2, "report": 2,
    "end_sweep": 2, "problem": 0, "replace": 99,
}  # fmt: skip
# Codes of a status, which only the controller writes; reasons that are no error (docs/conditions.md); names of the API server.
UNDOCUMENTED = frozenset(
    {"BadTime", "Active", "Checked", "Loaded", "Notified", "Suspended", "Works", "ValidatingAdmissionPolicy"}
)
CODE = re.compile(r"[A-Z][A-Za-z]+")
PAIRED = re.compile(r"([A-Z][a-z]+){2,}")


def modules() -> Iterator[tuple[Path, ModuleType]]:
    for package in (
        "core/kubesweep",
        "cli/kubesweep_cli",
        "console/kubesweep_console",
        "worker/kubesweep_worker",
        "controller/kubesweep_controller",
        "plugin/kubectl_sweep",
    ):
        for file in sorted((ROOT / package).rglob("[!_]*.py")):
            name = ".".join(file.relative_to(ROOT / package.split("/")[0]).with_suffix("").parts)
            yield file, importlib.import_module(name)


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def code_of_call(node: ast.Call, module: ModuleType) -> Iterator[str]:
    """The code of a call, if it is a literal or a constant of the module."""
    place = RAISED[called(node)]
    named = [each.value for each in node.keywords if each.arg in ("code", "reason", "error")]
    for each in named or node.args[place : place + 1]:
        for part in (each.body, each.orelse) if isinstance(each, ast.IfExp) else (each,):
            value = part.value if isinstance(part, ast.Constant) else getattr(module, getattr(part, "id", ""), None)
            if isinstance(value, str):
                yield str(value)


def code_of_pair(node: ast.AST, module: ModuleType) -> Iterator[str]:
    """The code of a pair (code, sentence), which tables consist of."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
        code, sentence = str(node.elts[0].value), node.elts[1]
        text = (
            sentence.value if isinstance(sentence, ast.Constant) else getattr(module, getattr(sentence, "id", ""), "")
        )
        if PAIRED.fullmatch(code) and (isinstance(sentence, ast.JoinedStr) or " " in str(text)):
            yield code


def codes() -> dict[str, str]:
    """Each code and a file that can print it."""
    found: dict[str, str] = {}
    for file, module in modules():
        for node in ast.walk(ast.parse(file.read_text())):
            for code in (
                code_of_call(node, module)
                if isinstance(node, ast.Call) and called(node) in RAISED
                else code_of_pair(node, module)
            ):
                found.setdefault(code, file.name)
    for table in (sqlstates.CODES, sqlstates.CLASSES, errors.PRIMARY, errors.EXTENDED):
        found |= {one.reason: "the tables of the databases" for one in table.values() if one.reason}
    found |= dict.fromkeys((*HALTING, LOST_REASON), "the end of a sweep")
    return {code: where for code, where in found.items() if CODE.fullmatch(code)}


CODES = codes()


def test_the_codes_are_found() -> None:
    assert len(CODES) > 100
    assert {
        "UnknownField",
        "HeadersMissing",
        "NotJson",
        "QueueAuth",
        "NeverEnds",
        "ApiBusy",
        "NotAllowed",
    } <= CODES.keys()


@pytest.mark.parametrize("code", sorted(CODES.keys() - UNDOCUMENTED))
def test_a_code_has_a_row(code: str) -> None:
    assert re.search(rf"^\|.*`{code}`.*\|$", DOCS, re.MULTILINE), f"{code} ({CODES[code]}) has no row in docs/errors.md"
