"""The archive for Krew, built as a release builds it: its program runs in an empty environment. Fetches wheels, as `make` does for `.venv`."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.kits.deadlines import scaled
from tools import krew

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
HERE = {"x86_64": "linux-amd64", "aarch64": "linux-arm64"}[platform.machine()]
URL = "https://example.com/releases"
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path[:0] = sys.argv[1:]
import kubectl_sweep
names = [each.name for each in pkgutil.walk_packages(kubectl_sweep.__path__, "kubectl_sweep.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("krew")
    assert krew.main(["--platform", HERE, "--python", PYTHON, "--url", URL, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def unpacked(built: Path) -> Path:
    """As Krew unpacks it."""
    folder = built / "store"
    with tarfile.open(built / f"kubectl-sweep-{krew.version()}-{HERE}.tar.gz") as opened:
        opened.extractall(folder, filter="data")
    return folder


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """In an environment that has nothing but an interpreter without packages."""
    base = Path(sys.base_prefix) / "bin"
    environment = {"PATH": f"{base}:/usr/bin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=scaled(120))


def test_the_program_runs_from_a_link_without_any_installed_package(unpacked: Path, tmp_path: Path) -> None:
    link = tmp_path / "kubectl-sweep"
    link.symlink_to(unpacked / "kubectl-sweep")
    ran = run(link, "version")
    assert (ran.returncode, ran.stdout) == (0, f"kubectl-sweep {krew.version()}\n"), ran.stderr
    lost = run(link, "get")
    assert (lost.returncode, "There is no kubeconfig" in lost.stderr) == (2, True), lost.stderr


def test_everything_that_any_verb_imports_is_in_the_archive(unpacked: Path) -> None:
    python = Path(sys.base_prefix) / "bin" / f"python{PYTHON}"
    places = (unpacked / "lib" / f"cp{PYTHON.replace('.', '')}", unpacked / "lib" / "any")
    ran = run(python, "-I", "-S", "-c", IMPORT_ALL, *places)
    assert (ran.returncode, int(ran.stdout or 0) > 60) == (0, True), ran.stderr


def test_for_another_python_it_says_what_to_install(unpacked: Path, tmp_path: Path) -> None:
    """A Python of a version that the archive has no compiled packages for."""
    program = tmp_path / "kubectl-sweep"
    program.write_bytes((unpacked / "kubectl-sweep").read_bytes())  # without its folder lib
    ran = run(Path(sys.base_prefix) / "bin" / f"python{PYTHON}", program, "version")
    assert (ran.returncode, f"this is Python {PYTHON}" in ran.stderr, "pipx install" in ran.stderr) == (2, True, True)


def test_the_manifest_has_the_hash_and_the_address_of_the_archive(built: Path) -> None:
    manifest = yaml.safe_load((built / "sweep.yaml").read_text("utf-8"))
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("Plugin", "sweep")
    assert manifest["spec"]["version"] == f"v{krew.version()}"
    (found,) = manifest["spec"]["platforms"]
    archive = built / f"kubectl-sweep-{krew.version()}-{HERE}.tar.gz"
    assert found["uri"] == f"{URL}/{archive.name}"
    assert found["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert found["bin"] == "kubectl-sweep"
    assert found["selector"]["matchLabels"] == dict(zip(("os", "arch"), HERE.split("-"), strict=True))


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    entries = [("a", b"1", 0o644), ("kubectl-sweep", b"2", 0o755)]
    for name in ("one.tar.gz", "two.tar.gz"):
        krew.pack(tmp_path / name, entries)
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
