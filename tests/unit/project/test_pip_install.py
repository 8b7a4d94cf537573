"""tools/pip_install.py: its progress, and its output on failure."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from tests.kits.deadlines import scaled
from tools.pip_install import progress

SCRIPT = Path(__file__).parents[3] / "tools" / "pip_install.py"
PIP_OUTPUT = """\
Ignoring colorama: markers 'sys_platform == "win32"' don't match your environment
Collecting msgspec==0.22.0 (from -r requirements/run.txt (line 90))
  Downloading msgspec-0.22.0-cp311-cp311-manylinux_2_17_x86_64.whl.metadata (6.9 kB)
Requirement already satisfied: redis==8.1.0 in lib (from -r requirements/run.txt (line 99)) (8.1.0)
Installing collected packages: msgspec
Successfully installed msgspec-0.22.0
"""


def test_progress_shows_every_package_and_then_the_unpacking() -> None:
    assert list(progress(PIP_OUTPUT.splitlines(keepends=True), 3)) == [
        "  1 of 3  colorama",
        "  2 of 3  msgspec",
        "  3 of 3  redis",
        "  all packages are downloaded: unpacking",
    ]


def test_the_first_line_names_the_packages_and_a_failure_shows_pips_output(tmp_path: Path) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text("no-hash-for-this==1.0\n")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "-r", str(pins)],
        check=False,
        capture_output=True,
        text=True,
        timeout=scaled(300),
    )
    assert done.returncode != 0
    assert done.stdout.splitlines()[0].startswith(f"installing 1 packages of {pins} into ")
    assert "hash" in done.stderr.lower()


def test_another_virtual_environment_needs_no_pip_of_its_own(tmp_path: Path) -> None:
    venv.create(tmp_path / "other", symlinks=True)
    pins = tmp_path / "pins.txt"
    pins.write_text("")
    python = tmp_path / "other" / "bin" / "python"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--python", str(python), "-r", str(pins)],
        check=True,
        capture_output=True,
        text=True,
        timeout=scaled(300),
    )
    assert done.stdout.splitlines()[0] == f"installing 0 packages of {pins} into {tmp_path / 'other'}, once"
