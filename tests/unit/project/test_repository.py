"""The repository's pages, Makefile and CI agree with each other, and no file names a registry or a developer's machine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from kubesweep.api.loading.files import load
from kubesweep_cli.main import app

ROOT = Path(__file__).parents[3]

# Assembled here, so that this file does not contain what it forbids.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("proxy", "golang", "org"),
        ("registry", "npmjs"),
        ("deb", "debian", "org"),
        ("crates", "io"),
    )
)
DEVELOPERS_FOLDER = re.compile(r"(?<![\w./:}-])/(?:home|Users|root|work|mnt)/[\w.-]+")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@cache
def committed() -> dict[str, str]:
    """Every text file that git tracks or would add, by its path; ignored files are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    texts = {}
    for path in filter(None, listed.split("\0")):
        file = ROOT / path
        if file.is_file():
            texts[path] = file.read_text(encoding="utf-8", errors="replace")
    return texts


def pages() -> list[str]:
    return sorted(path for path in committed() if path.endswith(".md"))


def slug(heading: str) -> str:
    """A heading's anchor on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_files_are_found() -> None:
    assert {"README.md", "Makefile", "pyproject.toml"} <= committed().keys()


def test_no_file_names_a_package_registry() -> None:
    assert [(path, host) for path, text in committed().items() for host in REGISTRIES if host in text] == []


def test_no_file_has_a_path_of_a_developers_machine() -> None:
    found = [(path, hit.group()) for path, text in committed().items() for hit in DEVELOPERS_FOLDER.finditer(text)]
    assert found == []


@pytest.mark.parametrize("page", pages())
def test_every_link_of_a_page_exists(page: str) -> None:
    broken = []
    for target in LINK.findall(CODE.sub("code", FENCE.sub("", committed()[page]))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in map(slug, HEADING.findall(FENCE.sub("", file.read_text())))):
            broken.append(target)
    assert broken == []


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", committed()["Makefile"], re.MULTILINE))
    named = {
        (page, target)
        for page in pages()
        for target in re.findall(r"(?:^|`)make ([a-z][a-z0-9-]+)", committed()[page], re.MULTILINE)
    }
    assert {("README.md", "demo"), ("README.md", "test")} <= named
    assert [(page, target) for page, target in sorted(named) if target not in targets] == []


def test_every_make_target_has_a_description() -> None:
    makefile = committed()["Makefile"]
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    described = set(re.findall(r"^([a-z][a-z0-9-]*):.*## ", makefile, re.MULTILINE))
    assert set(phony.group(1).split()) == described


def test_ci_runs_every_stage_of_make_test() -> None:
    stages = re.search(r"^test: (.*?) ##", committed()["Makefile"], re.MULTILINE)
    assert stages is not None
    lanes = re.findall(r"^beside lane (.*)$", committed()[".ci/run"], re.MULTILINE)
    assert sorted(" ".join(lanes).split()) == sorted(stages.group(1).split())


def test_the_schedule_of_the_readme_is_valid(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", committed()["README.md"], re.DOTALL)
    assert found is not None
    file = tmp_path / "carts.yaml"
    file.write_text(found.group(1))
    (loaded,) = load([file])
    assert loaded.url.startswith("postgresql://")


def test_every_command_that_a_page_names_exists() -> None:
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    known = set(program.commands)
    named = {
        (page, word)
        for page in pages()
        for block in FENCE.findall(committed()[page])
        for word in re.findall(r"(?<!helm install)(?<!helm upgrade)(?:^|\s|/|\()kubesweep ([a-z]+)", block)
    }
    assert ("README.md", "run") in named
    assert [(page, word) for page, word in sorted(named) if word not in known] == []


def test_the_boxes_of_the_readmes_picture_are_the_packages_of_the_import_contracts() -> None:
    contracts = tomllib.loads(committed()["pyproject.toml"])["tool"]["importlinter"]
    picture = committed()["README.md"].partition("## How a row is swept")[2]
    assert sorted(re.findall(r"^  subgraph (\w+)$", picture, re.MULTILINE)) == sorted(contracts["root_packages"])


def test_every_deadline_of_a_test_scales_with_the_patience_of_the_run() -> None:
    fixed = re.compile(r"(?:asyncio\.timeout\(|communicate\(timeout=|\.wait\(timeout=)\d[\d.]*")
    found = [
        (path, hit.group())
        for path, text in committed().items()
        if path.startswith("tests/") and path.endswith(".py")
        for hit in fixed.finditer(text)
    ]
    assert found == [], "write timeout=scaled(60), of tests/kits/deadlines.py"


def test_the_badges_of_the_readme_are_true() -> None:
    project = tomllib.loads(committed()["pyproject.toml"])["project"]
    shown = dict(re.findall(r"!\[(\w+): ([^\]]+)\]\(docs/images/badge-\w+\.svg\)", committed()["README.md"]))
    (status,) = [each for each in project["classifiers"] if each.startswith("Development Status")]
    kubernetes = re.search(
        r"^kubeVersion: \">=\s?([\d.]+?)(?:\.0)?(?:-0)?\"", committed()["charts/kubesweep/Chart.yaml"], re.MULTILINE
    )
    assert kubernetes is not None
    assert shown == {
        "status": status.rpartition(" - ")[2].lower(),
        "license": project["license"],
        "python": f"{project['requires-python'].removeprefix('>=')} or newer",
        "kubernetes": f"{kubernetes.group(1)} or newer",
    }
    for name, text in shown.items():
        assert f"<title>{name}: {text}</title>" in committed()[f"docs/images/badge-{name}.svg"]


def test_the_readme_shows_a_picture_that_a_target_makes() -> None:
    assert "](docs/images/live-view.svg)" in committed()["README.md"]
    picture = committed()["docs/images/live-view.svg"]
    assert "rows/s" in picture
    assert re.search(r"https?://(?!www\.w3\.org/|www\.textualize\.io)", picture) is None  # it loads nothing
