"""The pages for people who look for a cause, or make a first change: what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kubesweep.queue.model import SweepState

DOCS = Path(__file__).parents[3] / "docs"
TROUBLE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
FIRST_CHANGE = (DOCS / "contributing" / "first-change.md").read_text(encoding="utf-8")


def test_every_code_of_the_troubleshooting_page_is_explained_elsewhere() -> None:
    explained = "".join(
        (DOCS / page).read_text(encoding="utf-8") for page in ("errors.md", "conditions.md", "health.md")
    )
    known = set(re.findall(r"`([A-Z]\w+)`", explained)) | {str(state) for state in SweepState}
    prose = re.sub(r"^```.*?^```", "", TROUBLE, flags=re.MULTILINE | re.DOTALL)
    named = {word for text in re.findall(r"`([^`\n]+)`", prose) for word in re.findall(r"\b[A-Z][a-z]+[A-Z]\w*", text)}
    assert len(named) > 15
    assert named - known == set()


def test_every_row_has_a_symptom_a_cause_and_a_command() -> None:
    rows = [line for line in TROUBLE.splitlines() if line.startswith("| ") and not line.startswith("| symptom")]
    assert len(rows) >= 20
    for row in rows:
        cells = re.split(r"(?<!\\) \| ", row.strip("| "))
        assert len(cells) == 3, row
        assert all(cells)


def test_every_exit_code_of_the_troubleshooting_page_is_documented() -> None:
    for program, page in (("`kubesweep`", "cli.md"), ("A worker's pod", "pods.md")):
        codes = re.findall(rf"^\| {program} exits with (\d+)", TROUBLE, re.MULTILINE)
        assert codes
        text = (DOCS / page).read_text(encoding="utf-8")
        assert [code for code in codes if f"\n| {code} | " not in text] == []


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("core/kubesweep/api/models/source.py", ["_OPERATORS", "class Match", "cel.one_of(*_OPERATORS, "]),
        ("core/kubesweep/api/plan.py", ["class Match", "op: Literal["]),
        ("core/kubesweep/api/compile.py", ["return plan.Match("]),
        (
            "worker/kubesweep_worker/sources/conditions.py",
            ["def condition", "class Dialect", "def _stays", "def quote_text"],
        ),
        ("worker/kubesweep_worker/sources/postgres/dialect.py", ["class PostgresDialect", "def quote_pg"]),
        ("worker/kubesweep_worker/sources/sqlite/statements.py", ["class SqliteDialect"]),
        ("worker/kubesweep_worker/sources/postgres/checks/fit.py", ["def check_match"]),
        ("worker/kubesweep_worker/sources/sqlite/fit.py", ["def check_value"]),
        ("tests/unit/core/test_any_spec.py", ["MATCH = "]),
        ("tests/integration/test_times.py", ["def test_a_condition_finds_the_same_rows_on_both_databases"]),
    ],
)
def test_what_a_first_change_edits_is_where_the_page_says(file: str, names: list[str]) -> None:
    assert f"../../{file})" in FIRST_CHANGE
    text = (DOCS.parent / file).read_text(encoding="utf-8")
    assert [name for name in names if name not in text] == []


def test_the_first_changes_list_of_operators_is_the_models_and_one_more() -> None:
    rules = (DOCS.parent / "core" / "kubesweep" / "api" / "models" / "source.py").read_text(encoding="utf-8")
    found = [re.search(r"^_OPERATORS = \((.*)\)$", text, re.MULTILINE) for text in (rules, FIRST_CHANGE)]
    now, then = (set(re.findall(r'"(\w+)"', each.group(1))) for each in found if each is not None)
    assert then - now == {"startsWith"}
    assert now < then
