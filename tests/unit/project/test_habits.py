"""What runs before a commit, in an editor and in an issue: the same checks as in CI, and forms that a forge accepts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.check_editorconfig import check_text, matches, read, rules_for

ROOT = Path(__file__).parents[3]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
EDITOR = "root = true\n\n[*]\ncharset = utf-8\nend_of_line = lf\ninsert_final_newline = true\ntrim_trailing_whitespace = true\nindent_style = space\n\n[Makefile]\nindent_style = tab\n"


def lint_commands() -> list[str]:
    recipe = re.search(
        r"^lint:[^\n]*\n((?:\t[^\n]*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert recipe is not None
    lines = [line.strip() for line in recipe.group(1).splitlines()]
    return [line.replace("$(BIN)/", ".venv/bin/") for line in lines if not line.startswith("@echo")]


def hooks() -> list[dict[str, Any]]:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    found: list[dict[str, Any]] = config["repos"][0]["hooks"]
    return found


def test_the_hooks_before_a_commit_are_the_commands_of_make_lint() -> None:
    entries = [hook["entry"] for hook in hooks() if hook["id"] != "environment"]
    assert entries == lint_commands()
    assert len(entries) >= 7


def test_no_hook_installs_anything_or_depends_on_the_names_of_files() -> None:
    assert [hook["id"] for hook in hooks() if hook["language"] != "system" or hook["pass_filenames"]] == []
    # A hook for Python files alone would skip a check that reads other files too.
    limited = {hook["id"] for hook in hooks() if "types" in hook or "files" in hook}
    assert limited == {"ruff-check", "ruff-format", "mypy", "lint-imports"}


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*", "a/b.py", True),
        ("*.{yaml,yml}", "a/b.yml", True),
        ("*.{yaml,yml}", "a/b.yamlx", False),
        ("Makefile", "Makefile", True),
        ("[.]ci/run", ".ci/run", True),
        ("docs/*.md", "README.md", False),
    ],
)
def test_patterns_match_as_editors_match_them(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


@pytest.mark.parametrize(
    ("path", "text", "problems"),
    [
        ("a.py", "x = 1\n", []),
        ("a.py", "x = 1", ["a.py: no newline at the end"]),
        ("a.py", "x = 1 \n", ["a.py:1: white space at the end of the line"]),
        ("a.py", "if x:\n\ty = 1\n", ["a.py:2: indented by a tab"]),
        ("a.py", "x\r\n", ["a.py:1: a carriage return at the end of the line"]),
        ("a.py", "\ufffd\n", ["a.py: not UTF-8"]),
        ("Makefile", "a:\n\tb\n", []),
        ("a.py", "", []),
    ],
)
def test_a_file_is_checked_against_the_last_section_that_matches_it(path: str, text: str, problems: list[str]) -> None:
    assert list(check_text(path, text, rules_for(path, read(EDITOR)))) == problems


def test_the_projects_own_settings_are_read() -> None:
    sections = read((ROOT / ".editorconfig").read_text(encoding="utf-8"))
    assert rules_for("core/a.py", sections)["trim_trailing_whitespace"] == "true"
    assert rules_for("Makefile", sections)["indent_style"] == "tab"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_every_issue_form_is_one_that_a_forge_accepts(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.stem == "config":
        assert set(content) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(content)
    fields = [each for each in content["body"] if each["type"] != "markdown"]
    ids = [each["id"] for each in fields]
    assert len(set(ids)) == len(ids) > 0
    assert all(each["type"] in ("input", "textarea", "dropdown", "checkboxes") for each in fields)
    assert all(each["attributes"]["label"] for each in fields)
    assert any(each.get("validations", {}).get("required") for each in fields)


def test_the_pages_that_the_forms_name_exist() -> None:
    assert len(FORMS) >= 3
    named = {page for form in FORMS for page in re.findall(r"[\w/]+\.md", form.read_text(encoding="utf-8"))}
    assert {"SECURITY.md", "docs/troubleshooting.md"} <= named
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert named <= set(tracked)
