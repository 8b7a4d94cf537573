"""``make release-check``: builds what a release would publish, and uses it as a new user would.

Every step prints one line. The first that fails ends the check with its reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

from tools.install_manifest import helm
from tools.release.build import build, build_python, commit_time
from tools.release.upgrade import upgrade
from tools.release.version import CHART, ROOT, disagreements, version

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


class Failed(Exception):
    """A step of the check failed. The message says what is wrong."""


def check(out: Path) -> int:
    """Run all steps. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="kubesweep-release-") as folder:
        scratch = Path(folder)
        steps: list[tuple[str, Callable[[], str]]] = [
            ("versions agree", _versions),
            ("files", lambda: _build(out)),
            ("a second build has the same bytes", lambda: _same_bytes(out, scratch / "again")),
            ("wheel", lambda: _wheel_is_complete(out)),
            ("sdist builds the same wheel", lambda: _sdist(out, scratch)),
            ("wheel in a fresh environment", lambda: _install(out, scratch / "venv")),
            ("packaged chart", lambda: _chart(out)),
            ("chart with pinned images", lambda: _pinned_chart(scratch / "pinned")),
            ("upgrade from the last release", lambda: upgrade(scratch / "before")),
        ]
        for name, step in steps:
            try:
                print(f"{name}: {step()}", flush=True)
            except (Failed, subprocess.CalledProcessError) as problem:
                print(f"{name}: FAILED: {problem}", flush=True)
                return 1
    return 0


def _versions() -> str:
    if found := disagreements():
        raise Failed("; ".join(found))
    return version()


def _build(out: Path) -> str:
    return ", ".join(str(file.relative_to(out)) for file in build(out, {}))


def _same_bytes(out: Path, again: Path) -> str:
    build(again, {})
    first, second = ((folder / "SHA256SUMS").read_text() for folder in (out, again))
    if first != second:
        different = {line.split()[1] for line in set(first.splitlines()) ^ set(second.splitlines())}
        raise Failed(f"these differ: {', '.join(sorted(different))}")
    return f"{len(first.splitlines())} files"


def _wheel_is_complete(out: Path) -> str:
    """Every committed file of the packages is in the wheel, and nothing else but its metadata."""
    with zipfile.ZipFile(_only(out / "python", "*.whl")) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    folders = ("core", "cli", "console", "worker", "controller", "plugin")
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True)
    wanted = {name.partition("/")[2] for name in listed.stdout.splitlines()}
    packages = {name.partition("/")[0] for name in inside}
    wanted = {name for name in wanted if name.partition("/")[0] in packages}
    if inside != wanted:
        raise Failed(f"missing: {sorted(wanted - inside)}, unexpected: {sorted(inside - wanted)}")
    return f"{len(inside)} files of {', '.join(sorted(packages))}"


def _sdist(out: Path, scratch: Path) -> str:
    with tarfile.open(_only(out / "python", "*.tar.gz")) as archive:
        archive.extractall(scratch, filter="data")
    source = scratch / f"kubesweep-{version()}"
    if not (source / "LICENSE").is_file():
        raise Failed("LICENSE is not in the sdist")
    build_python(scratch / "from-sdist", commit_time(), source, targets=("wheel",))
    names = []
    for folder in (out / "python", scratch / "from-sdist"):
        with zipfile.ZipFile(_only(folder, "*.whl")) as wheel:
            names.append({(each.filename, each.CRC) for each in wheel.infolist() if "RECORD" not in each.filename})
    if names[0] != names[1]:
        raise Failed(f"the wheels differ in {sorted({name for name, _ in names[0] ^ names[1]})}")
    return f"{len(names[0])} files"


def _install(out: Path, folder: Path) -> str:
    """Install the pinned dependencies and the wheel as ``pip install kubesweep`` does, and run the main job."""
    venv.create(folder, with_pip=True)
    python, program = folder / "bin" / "python", folder / "bin" / "kubesweep"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    _run(*pip, "--require-hashes", "-r", str(ROOT / "requirements" / "run.txt"))
    _run(*pip, "--no-deps", str(_only(out / "python", "*.whl")))
    _run(str(python), "-m", "pip", "--disable-pip-version-check", "check")
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    printed = _run(str(program), "--version", environment=environment).strip()
    if printed != f"kubesweep {version()}":
        raise Failed(f"kubesweep --version prints {printed}")
    _run(str(program), "demo", "--rows", "2000", "--keep", str(folder / "demo"), environment=environment)
    return f"{printed}, and kubesweep demo runs"


def _chart(out: Path) -> str:
    package = str(_only(out / "chart", "*.tgz"))
    _run(helm(), "lint", "--strict", package)
    rendered, ours = (_run(helm(), "template", "kubesweep", chart, "-n", "default") for chart in (package, str(CHART)))
    if rendered != ours:
        raise Failed("it renders other objects than charts/kubesweep")
    return f"{rendered.count('kind: ')} objects, the same as charts/kubesweep"


def _pinned_chart(out: Path) -> str:
    build(out, {"controller": DIGEST, "worker": DIGEST})
    rendered = _run(helm(), "template", "kubesweep", str(_only(out / "chart", "*.tgz")), "-n", "default")
    for name in ("controller", "worker"):
        if f"/kubesweep/{name}@{DIGEST}" not in rendered:
            raise Failed(f"the image of the {name} is not pinned to its digest")
    return "controller and worker by digest"


def _only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    ran = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, stdin=subprocess.DEVNULL
    )
    if ran.returncode:
        print(ran.stdout, ran.stderr, sep="\n", file=sys.stderr)
        raise Failed(f"{' '.join(command)} exits with {ran.returncode}")
    return ran.stdout
