"""Checks .github: actionlint finds mistakes in the workflows, zizmor what an attacker could use.

zizmor is a Python package. actionlint is a Go program, compiled once; without Go it is skipped, and the last line says so. Neither needs
the network. Pedantic findings of zizmor count too, except that jobs need no name beside their id.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"
BUILD = ROOT / "tests" / "cluster" / "build"


def main() -> int:
    zizmor = [
        str(Path(sys.executable).with_name("zizmor")),
        "--quiet",
        "--offline",
        "--no-progress",
        "--persona=pedantic",
    ]
    results = [_run([*zizmor, "--min-severity=low", str(ROOT / ".github")])]
    if program := actionlint():
        results.append(_run([program, "-shellcheck=", "-pyflakes=", *map(str, sorted(WORKFLOWS.glob("*.yml")))]))
    else:
        print("actionlint is skipped: it needs Go")
    return max(results)


def actionlint() -> str | None:
    """The path of actionlint, which is compiled where it is missing; None without Go."""
    paths = subprocess.run([BUILD, "--paths"], check=True, capture_output=True, text=True).stdout
    path = Path(dict(line.split() for line in paths.splitlines())["actionlint"])
    if not path.exists():
        if shutil.which("go") is None:
            return None
        subprocess.run([BUILD, "actionlint"], check=True, stdout=subprocess.DEVNULL)
    return str(path)


def _run(command: list[str]) -> int:
    return subprocess.run(command, cwd=ROOT, check=False, stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())
