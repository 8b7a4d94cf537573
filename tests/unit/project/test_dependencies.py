"""What the images install is a part of what the package requires, in the same versions, and has no terminal library."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
BASE = set(PROJECT["project"]["dependencies"])
EXTRAS = PROJECT["project"]["optional-dependencies"]


def group(name: str) -> set[str]:
    found: set[str] = set()
    for entry in GROUPS[name]:
        found |= group(entry["include-group"]) if isinstance(entry, dict) else {entry}
    return found


def pinned(file: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / file).read_text(), re.MULTILINE))


def name(requirement: str) -> str:
    found = re.match(r"[a-z0-9-]+", requirement)
    assert found is not None
    return found.group()


@pytest.mark.parametrize(("image", "extra"), [("worker-image", "worker"), ("controller-image", "controller")])
def test_an_image_requires_what_the_package_requires_or_less(image: str, extra: str) -> None:
    assert group(image) <= BASE | set(EXTRAS[extra])


@pytest.mark.parametrize(("image", "file"), [("worker-image", "worker.txt"), ("controller-image", "controller.txt")])
def test_the_pins_of_an_image_are_those_of_its_group(image: str, file: str) -> None:
    assert {name(each) for each in group(image)} <= pinned(file)
    assert pinned(file) & {"rich", "typer", "pygments"} == set()


def test_the_pins_of_a_local_run_are_the_packages_own() -> None:
    assert {name(each) for each in BASE} <= pinned("run.txt")


def test_the_names_of_earlier_extras_still_install() -> None:
    assert {"worker", "console", "cli"} <= EXTRAS.keys()
    assert "kubesweep[worker]" in (ROOT / "examples" / "custom-image" / "Containerfile").read_text()
