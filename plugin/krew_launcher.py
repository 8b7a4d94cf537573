#!/usr/bin/env python3
"""Starts kubectl sweep from the folder of its Krew archive: lib/any has the packages of Python, lib/cp311 and so on the compiled ones.

Its first task is to find a Python that is new enough, so it uses nothing that Python 3.6 lacks.
"""

import os
import sys
from typing import Iterator  # noqa: UP035

VERSIONS = ("3.14", "3.13", "3.12", "3.11")
TRIED = "KUBECTL_SWEEP_PYTHON_TRIED"


def compiled(here: str, version: str) -> str:
    return os.path.join(here, "lib", "cp" + version.replace(".", ""))


def other_pythons(here: str) -> Iterator[str]:
    """The paths of other interpreters that have their compiled packages here."""
    for version in VERSIONS:
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            program = os.path.join(folder, "python" + version)
            if os.path.isdir(compiled(here, version)) and os.access(program, os.X_OK):
                yield program


def main() -> None:
    here = os.path.dirname(os.path.realpath(__file__))
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if os.path.isdir(compiled(here, version)):
        os.environ.pop(TRIED, None)
        sys.path[:0] = [compiled(here, version), os.path.join(here, "lib", "any")]
        from kubectl_sweep.main import main as start

        start()
    if not os.environ.get(TRIED):
        os.environ[TRIED] = "1"
        for program in other_pythons(here):
            os.execv(program, [program, os.path.join(here, "kubectl-sweep"), *sys.argv[1:]])
    sys.stderr.write(
        f"error: kubectl sweep needs Python 3.11 to 3.14, and this is Python {version} ({sys.executable}).\n"
        "Install one, such as python3.13, or use pipx:  pipx install 'kubesweep[kubectl]'\n"
    )
    sys.exit(2)


if __name__ == "__main__":
    main()
