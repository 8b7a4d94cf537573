"""The files of a release agree about its version, and its chart names the images that were built for it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tools.release import upgrade
from tools.release import version as versions
from tools.release.build import PINNED, checksums, pin_images

VALUES = (versions.CHART / "values.yaml").read_text("utf-8")
DIGEST = f"sha256:{'ab' * 32}"


def test_every_file_has_the_version_of_the_package() -> None:
    assert versions.disagreements() == []


def test_a_tag_needs_the_version_and_a_section_of_the_changelog(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("pyproject.toml", "CHANGELOG.md"):
        (tmp_path / name).write_text((versions.ROOT / name).read_text("utf-8"), encoding="utf-8")
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    number = versions.version()
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(changelog.read_text("utf-8").replace(f"## [{number}]", "## [0.0.0]"), encoding="utf-8")
    assert versions.disagreements("v9.9.9") == [
        f"the tag v9.9.9 is not v{number}, the version in pyproject.toml",
        f"CHANGELOG.md has no section [{number}]: rename [Unreleased] to it, with the date",
    ]
    released = changelog.read_text("utf-8").replace("## [Unreleased]", f"## [{number}] - 2026-12-01", 1)
    changelog.write_text(released, encoding="utf-8")
    assert versions.disagreements(f"v{number}") == []
    assert len(versions.release_notes()) > 100


@pytest.mark.parametrize("field", ["version", "appVersion"])
def test_a_chart_of_another_version_is_reported(field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (versions.CHART / "Chart.yaml").read_text("utf-8")
    (tmp_path / "Chart.yaml").write_text(re.sub(rf"^{field}: .*$", f'{field}: "9.9.9"', text, flags=re.MULTILINE))
    monkeypatch.setattr(versions, "CHART", tmp_path)
    assert versions.disagreements() == [
        f"charts/kubesweep/Chart.yaml: {field} is 9.9.9, pyproject.toml has {versions.version()}"
    ]


def test_pinning_changes_the_named_images_and_nothing_else() -> None:
    pinned = pin_images(VALUES, {"worker": DIGEST})
    before, after = yaml.safe_load(VALUES), yaml.safe_load(pinned)
    before["worker"]["image"]["digest"] = DIGEST
    assert after == before
    assert len(pinned.splitlines()) == len(VALUES.splitlines())
    everything = yaml.safe_load(pin_images(VALUES, dict.fromkeys(PINNED, DIGEST)))
    assert [everything[name]["image"]["digest"] for name in PINNED] == [DIGEST] * len(PINNED)


@pytest.mark.parametrize(
    "digests",
    [{"keda": DIGEST}, {"worker": "latest"}, {"worker": "sha256:12"}, {"worker": f'{DIGEST}"'}],
    ids=["another image", "a tag", "too short", "more than a digest"],
)
def test_what_is_no_digest_of_an_image_is_refused(digests: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="needs one of controller, worker, redis"):
        pin_images(VALUES, digests)


def test_a_person_who_downloaded_the_files_can_check_them(tmp_path: Path) -> None:
    for name in ("python/a.whl", "chart/b.tgz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    sums = checksums(sorted(tmp_path.glob("*/*")))
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for file in tmp_path.glob("*/*.*"):
        file.rename(downloads / file.name)
    (downloads / "SHA256SUMS").write_text(sums)
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=downloads, check=True, capture_output=True, text=True
    )
    assert done.stdout == "b.tgz: OK\na.whl: OK\n"


def test_an_image_is_pinned_once() -> None:
    with pytest.raises(ValueError, match="has no worker"):
        pin_images(pin_images(VALUES, {"worker": DIGEST}), {"worker": DIGEST})


def test_the_upgrade_starts_from_the_last_tag_of_another_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(upgrade, "ROOT", tmp_path)
    monkeypatch.setenv("KUBESWEEP_CLUSTER", "none")

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    def commit(*tags: str) -> None:
        git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "--message=a")
        for tag in tags:
            git("tag", tag)

    current = versions.version()
    git("init")
    commit("not-a-release")
    assert upgrade.last_release() is None
    commit(f"v{current}")
    assert upgrade.upgrade(tmp_path) == f"no release is older than {current}, so there is nothing to upgrade from"
    git("tag", "--delete", f"v{current}")
    commit("v0.0.8")
    commit("v0.0.9")
    commit(f"v{current}")
    assert upgrade.last_release() == "v0.0.9"
    assert upgrade.upgrade(tmp_path).startswith("SKIPPED: the upgrade from v0.0.9 needs the test bed")
