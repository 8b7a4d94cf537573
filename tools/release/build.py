"""The files of a release, in one folder.

    python/     wheel and sdist
    chart/      the chart as a package, its images pinned to the digests that were given
    manifests/  crd.yaml, and install.yaml rendered from that chart
    NOTES.md    the section of the changelog, which becomes the text of the release's page
    SHA256SUMS  checksums of all others

Two builds of one commit have the same bytes: the times in the archives are those of the commit (SOURCE_DATE_EPOCH,
https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools.install_manifest import helm, manifest
from tools.release.version import CHART, ROOT, release_notes, version

DEFAULT = ROOT / ".build" / "release"
PINNED = ("controller", "worker", "redis")  # sections of values.yaml with an image


def build(out: Path, digests: Mapping[str, str]) -> list[Path]:
    """Write all files of the release into ``out``, which is emptied first. Raises ValueError for an unknown or malformed digest."""
    shutil.rmtree(out, ignore_errors=True)
    for name in ("python", "chart", "manifests"):
        (out / name).mkdir(parents=True)
    moment = commit_time()
    build_python(out / "python", moment)
    chart = build_chart(out / "chart", digests, moment)
    (out / "manifests" / "install.yaml").write_text(manifest(str(chart)), encoding="utf-8")
    shutil.copy(ROOT / "manifests" / "crd.yaml", out / "manifests")
    files = sorted(file for file in out.rglob("*") if file.is_file())
    (out / "SHA256SUMS").write_text(checksums(files), encoding="utf-8")
    (out / "NOTES.md").write_text(release_notes(), encoding="utf-8")
    return [*files, out / "NOTES.md", out / "SHA256SUMS"]


def checksums(files: Iterable[Path]) -> str:
    """What ``sha256sum --check`` reads in the folder of a person who downloaded the files: the release's page has no folders."""
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def commit_time() -> int:
    """When the commit was made, in seconds since 1970; what SOURCE_DATE_EPOCH says where there is no repository."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    printed = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True)
    return int(printed.stdout)


def build_python(out: Path, moment: int, source: Path = ROOT, *, targets: tuple[str, ...] = ("wheel", "sdist")) -> None:
    """Build the wheel and the sdist of ``source`` into ``out`` with the hatchling of this environment."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    for target in targets:
        command += ["-t", target]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(moment)}
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL, env=environment)


def build_chart(out: Path, digests: Mapping[str, str], moment: int) -> Path:
    """Package the chart as helm does, with the images pinned. Returns the package."""
    copied = out / "kubesweep"
    shutil.copytree(CHART, copied)
    values = copied / "values.yaml"
    values.write_text(pin_images(values.read_text("utf-8"), digests), encoding="utf-8")
    subprocess.run([helm(), "package", str(copied), "-d", str(out)], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(copied)
    package = out / f"kubesweep-{version()}.tgz"
    _set_times(package, moment)
    return package


def pin_images(values: str, digests: Mapping[str, str]) -> str:
    """values.yaml with ``image.digest`` of the sections that ``digests`` names. Comments stay."""
    for name, digest in digests.items():
        if name not in PINNED or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise ValueError(f"--digest {name}={digest}: needs one of {', '.join(PINNED)}, and sha256: with 64 digits")
        section = re.compile(rf'(^{name}:\n(?:(?!\S).*\n)*?  image:\n(?:    .*\n)*?    digest: )""', re.MULTILINE)
        values, number = section.subn(rf'\g<1>"{digest}"', values)
        if number != 1:
            raise ValueError(f'values.yaml has no {name}.image.digest: ""')
    return values


def _set_times(package: Path, moment: int) -> None:
    """Rewrite a .tgz in the order of its names and with one time, because helm writes the time of packaging."""
    content = io.BytesIO()
    with tarfile.open(package) as old, tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda each: each.name != "kubesweep/Chart.yaml"):
            member.mtime, member.pax_headers = moment, {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    package.write_bytes(gzip.compress(content.getvalue(), mtime=moment))
