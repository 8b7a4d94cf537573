"""The one version of a release, and the files that must agree with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "kubesweep"


def version() -> str:
    """The version in pyproject.toml, which the others follow."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def disagreements(tag: str | None = None) -> list[str]:
    """One sentence for each file that has another version. ``tag``: also what a release of this tag needs."""
    wanted = version()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    found = [
        f"charts/kubesweep/Chart.yaml: {field} is {chart[field]}, pyproject.toml has {wanted}"
        for field in ("version", "appVersion")
        if str(chart[field]) != wanted
    ]
    for image in yaml.safe_load(chart["annotations"]["artifacthub.io/images"]):
        if image["name"] in ("controller", "worker") and not image["image"].endswith(f":{wanted}"):
            found.append(f"charts/kubesweep/Chart.yaml: the image {image['image']} has not the version {wanted}")
    if tag is not None:
        found += _of_tag(tag, wanted)
    return found


def _of_tag(tag: str, wanted: str) -> list[str]:
    found = []
    if tag != f"v{wanted}":
        found.append(f"the tag {tag} is not v{wanted}, the version in pyproject.toml")
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    if wanted not in headings:
        found.append(f"CHANGELOG.md has no section [{wanted}]: rename [Unreleased] to it, with the date")
    return found


def release_notes() -> str:
    """The section of CHANGELOG.md about this version, or about what is unreleased if it has none."""
    sections = re.split(r"^## \[(.+?)\].*\n", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)
    by_name = dict(zip(sections[1::2], sections[2::2], strict=True))
    return by_name.get(version(), by_name.get("Unreleased", "")).strip() + "\n"
