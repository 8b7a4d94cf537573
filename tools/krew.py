"""Builds the archives of the kubectl plugin for Krew, and their manifest: ``make krew``.

    python -m tools.krew [--platform linux-amd64] [--python 3.11] [--url https://example.com/releases/v1] [--out .build/krew]

Krew unpacks an archive and links one program of it; it installs no packages. So an archive has all packages: those of Python alone once, in
``lib/any``, and compiled ones for each version of Python, in ``lib/cp311`` and so on. ``requirements/kubectl.txt`` pins them with hashes. The
wheels are fetched here, at a release, so that the plugin fetches nothing when it runs. The same input makes the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
PINS = ROOT / "requirements" / "kubectl.txt"
TEMPLATE = ROOT / "plugin" / "krew.yaml"
LAUNCHER = ROOT / "plugin" / "krew_launcher.py"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The tags of wheels that run there, oldest system first.
PLATFORMS = {
    "linux-amd64": tuple(f"manylinux{tag}_x86_64" for tag in ("2014", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28")),
    "linux-arm64": tuple(f"manylinux{tag}_aarch64" for tag in ("2014", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28")),
    "darwin-amd64": tuple(
        f"macosx_{tag}_x86_64" for tag in ("10_9", "10_12", "10_13", "10_15", "11_0", "12_0", "13_0")
    ),
    "darwin-arm64": tuple(f"macosx_{tag}_arm64" for tag in ("11_0", "12_0", "13_0", "14_0")),
}
# What the plugin never imports, of the packages that `kubesweep[kubectl]` installs: workers, queues, and Windows.
LEFT_OUT = frozenset(
    {
        "aiohttp-retry",
        "async-timeout",
        "colorama",
        "hiredis",
        "prometheus-client",
        "psycopg",
        "psycopg-binary",
        "redis",
        "uvloop",
        "win-unicode-console",
    }
)
LEFT_OUT_FOLDERS = ("kubernetes/aio/", "kubesweep_controller/", "kubesweep_worker/")
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the Krew archives of kubectl sweep.")
    parser.add_argument("--platform", action="append", choices=list(PLATFORMS), help="default: all")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="default: all")
    parser.add_argument(
        "--url", default="https://github.com/kubesweep/kubesweep/releases", help="where the archives will be"
    )
    parser.add_argument("--homepage", default="https://github.com/kubesweep/kubesweep", help="of the project")
    parser.add_argument("--out", type=Path, default=ROOT / ".build" / "krew")
    given = parser.parse_args(arguments)
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(out / "wheel")
    hashes = {}
    for platform in given.platform or PLATFORMS:
        archive = out / f"kubectl-sweep-{version()}-{platform}.tar.gz"
        pack(archive, contents(wheel, platform, given.python or PYTHONS, out / "wheels"))
        hashes[platform] = hashlib.sha256(archive.read_bytes()).hexdigest()
        print(f"{archive}  {archive.stat().st_size / 2**20:.1f} MiB  sha256:{hashes[platform]}")
    manifest = out / "sweep.yaml"
    manifest.write_text(filled(TEMPLATE.read_text("utf-8"), hashes, given.url, given.homepage), "utf-8")
    print(manifest)
    return 0


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def build_wheel(folder: Path) -> Path:
    """The wheel of this clone."""
    shutil.rmtree(folder, ignore_errors=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def wanted_pins(text: str) -> str:
    """The blocks of a file of pins, without those of packages that are left out."""
    blocks = re.split(r"\n(?=\S)", text.strip("\n"))
    return (
        "\n".join(each for each in blocks if (found := _PIN.match(each)) and _normal(found[1]) not in LEFT_OUT) + "\n"
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def fetch(platform: str, python: str, folder: Path) -> list[Path]:
    """The wheels of all pinned packages for one platform and one Python."""
    folder.mkdir(parents=True, exist_ok=True)
    pins = folder / "pins.txt"
    pins.write_text(wanted_pins(PINS.read_text("utf-8")), "utf-8")
    abi = f"cp{python.replace('.', '')}"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
    ]
    target = [
        "--only-binary=:all:",
        "--implementation",
        "cp",
        "--python-version",
        python,
        "--abi",
        abi,
        "--abi",
        "abi3",
        "--abi",
        "none",
    ]
    tags = [word for tag in PLATFORMS[platform] for word in ("--platform", tag)]
    subprocess.run([*pip, *target, *tags, "--dest", str(folder), "-r", str(pins)], check=True)
    return sorted(folder.glob("*.whl"))


Entry = tuple[str, bytes, int]  # path in the archive, content, mode


def contents(wheel: Path, platform: str, pythons: Iterable[str], folder: Path) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for python in pythons:
        for each in (wheel, *fetch(platform, python, folder / f"{platform}-{python}")):
            place = "lib/any" if each.name.endswith("-none-any.whl") else f"lib/cp{python.replace('.', '')}"
            for path, data in files_of(each):
                entries.setdefault(f"{place}/{path}", (f"{place}/{path}", data, 0o644))
    entries["kubectl-sweep"] = ("kubectl-sweep", LAUNCHER.read_bytes(), 0o755)
    entries["LICENSE"] = ("LICENSE", (ROOT / "LICENSE").read_bytes(), 0o644)
    return sorted(entries.values())


def files_of(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """The files that are imported. Scripts and headers (``.data``) are left out."""
    with zipfile.ZipFile(wheel) as opened:
        for name in opened.namelist():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{wheel.name} has a path outside of itself: {name}")
            if name.endswith("/") or path.parts[0].endswith(".data") or name.startswith(LEFT_OUT_FOLDERS):
                continue
            yield name, opened.read(name)


def pack(archive: Path, entries: Iterable[Entry]) -> None:
    """The same entries make the same bytes: there are no times and no users in it."""
    made = archive.with_suffix(".part")
    with (
        made.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, data, mode in entries:
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(data), mode, 0
            tar.addfile(info, io.BytesIO(data))
    os.replace(made, archive)


def filled(template: str, hashes: dict[str, str], url: str, homepage: str) -> str:
    """The manifest with the platforms that were built."""
    head, *platforms = template.split("    - selector:")
    built = [each for each in platforms for name in hashes if f"@{name}@" in each]
    text = "    - selector:".join([re.sub(r"\A#.*\n", "", head), *built])
    for name, value in {**hashes, "version": version(), "url": url.rstrip("/"), "homepage": homepage}.items():
        text = text.replace(f"@{name}@", value)
    return text


if __name__ == "__main__":
    sys.exit(main())
