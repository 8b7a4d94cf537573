"""``pip install kubesweep`` without any extra gives a working ``kubesweep``: the wheel in an environment with its dependencies alone."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import Distribution, PathDistribution, distribution, requires
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.kits.deadlines import scaled

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=scaled(120))
    (made,) = folder.glob("kubesweep-*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing but the wheel and what it requires. The packages are those of this environment: no network."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "wheel")
    (info,) = (folder / "wheel").glob("*.dist-info")
    for found in closure(PathDistribution(info)).values():
        link(found, packages)
    command = [*PIP, "--python", str(folder / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, timeout=scaled(120))
    return folder


def closure(wanted: Distribution) -> dict[str, Distribution]:
    """The distributions that ``wanted`` requires, also indirectly, by name."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in wanted.requires or ()]
    while waiting:
        one = waiting.pop()
        extras = one.extras or {""}
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        if one.name in found and not one.extras:
            continue
        found[one.name] = distribution(one.name)
        for text in requires(one.name) or ():
            further = Requirement(text)
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(Requirement(str(further).partition(";")[0]))
    return found


def link(found: Distribution, packages: Path) -> None:
    """Symbolic links to the top of what a distribution has installed."""
    for file in found.files or ():
        top = file.parts[0]
        source, target = Path(str(found.locate_file(top))), packages / top
        if top not in ("..", "__pycache__") and not target.is_symlink():
            target.symlink_to(source)


def kubesweep(environment: Path, *arguments: str, program: str = "kubesweep") -> subprocess.CompletedProcess[str]:
    command = [str(environment / "bin" / program), *arguments]
    state = {"XDG_STATE_HOME": str(environment / "state"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=state, capture_output=True, text=True, check=False, timeout=scaled(120))


def test_the_plain_package_prints_its_version_and_runs_the_demo(environment: Path) -> None:
    assert kubesweep(environment, "version").stdout.startswith("kubesweep 0.")
    done = kubesweep(environment, "demo", "--rows", "300")
    assert (done.returncode, done.stdout.count("✓")) == (0, 4), done.stderr


@pytest.mark.parametrize(
    ("package", "command", "said"),
    [
        ("typer", "version", "error: the Python package typer is not installed"),
        ("rich", "status", "error: the Python package rich is not installed"),
    ],
)
def test_a_missing_package_is_named_with_what_to_install(
    environment: Path, package: str, command: str, said: str
) -> None:
    (place,) = environment.glob(f"lib/*/site-packages/{package}")
    kept = place.readlink()
    place.unlink()
    try:
        done = kubesweep(environment, command)
    finally:
        place.symlink_to(kept)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert said in done.stderr
    assert "pip install" in done.stderr


def test_the_controller_names_its_extra(environment: Path) -> None:
    done = kubesweep(environment, "--help", program="kubesweep-controller")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert 'pip install "kubesweep[controller]"' in done.stderr
