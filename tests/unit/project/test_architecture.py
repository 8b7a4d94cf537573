"""docs/architecture.md names files and folders: they have to exist, and no folder may be missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[`([^`\]]+)`\]\(\.\./([^)]+)\)")
PACKAGES = (
    "core/kubesweep",
    "cli/kubesweep_cli",
    "console/kubesweep_console",
    "worker/kubesweep_worker",
    "controller/kubesweep_controller",
    "plugin/kubectl_sweep",
)


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_file_of_the_page_exists_under_the_name_that_is_shown() -> None:
    links = LINK.findall(PAGE)
    assert len(links) > 60
    assert [target for _, target in links if not (ROOT / target).is_file()] == []
    assert [(shown, target) for shown, target in links if not target.endswith(shown)] == []


def test_every_folder_of_the_page_exists() -> None:
    folders = re.findall(r"`((?:core|cli|console|worker|controller|plugin)/[\w/]+/)`", PAGE)
    assert len(folders) > 10
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_a_package_is_on_the_page(package: str) -> None:
    folders = sorted(f"{each.parent.relative_to(ROOT)}/" for each in (ROOT / package).glob("*/__init__.py"))
    assert folders
    # The demo is a program of its own, which nothing else uses; what is in shell is named by the questions.
    expected = [each for each in folders if not each.endswith(("/demo/", "/shell/"))]
    assert [each for each in expected if f"`{each}`" not in section("Packages and processes")] == []


@pytest.mark.parametrize("walk", ["The path of one row", "The path of one edit"])
def test_each_hop_of_a_walk_names_a_file(walk: str) -> None:
    hops = re.split(r"^\d+\. ", section(walk), flags=re.MULTILINE)[1:]
    assert len(hops) >= 8
    assert [hop for hop in hops if not LINK.search(hop)] == []


def test_each_answer_names_one_file_or_two() -> None:
    rows = re.findall(r"^\| ([^*|][^|]*\?) \| (.*) \|$", section("Where to find it"), re.MULTILINE)
    assert len(rows) > 25
    assert [question for question, answer in rows if not 1 <= len(LINK.findall(answer)) <= 2] == []


def test_each_symbol_of_an_answer_is_in_its_file() -> None:
    named = re.findall(r"\]\(\.\./([^)]+)\), `([\w.]+)`", section("Where to find it"))
    assert named
    for path, symbol in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert all(re.search(rf"(?:def|class) {part}\b", text) for part in symbol.split(".")), (path, symbol)
