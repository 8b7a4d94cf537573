"""Runs ``pip install`` and shows progress: one line that changes on a terminal, otherwise a line for each package.

    python tools/pip_install.py [--python .venv/apps/NAME/bin/python] -r requirements/run.txt [-r ...]

Only what is pinned with hashes is installed. ``--python`` installs into another virtual environment, which needs no pip of its own.
Uses the standard library alone: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PINNED = re.compile(r"^([\w.-]+)==", re.MULTILINE)
REACHED = re.compile(r"^(?:Collecting|Requirement already satisfied:|Ignoring) ([\w.-]+)")
KEPT = 20  # lines of pip's output that are shown on failure


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-r", dest="files", action="append", required=True)
    parser.add_argument("--python", default=sys.executable)
    given = parser.parse_args(arguments)
    wanted = {name for file in given.files for name in PINNED.findall(Path(file).read_text())}
    line = ProgressLine()
    line.show(
        f"installing {len(wanted)} packages of {', '.join(given.files)} into {Path(given.python).parents[1]}, once"
    )
    line.end()
    began = time.monotonic()
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", given.python]
    pins = [part for file in given.files for part in ("-r", file)]
    with subprocess.Popen(
        [*command, "install", "--progress-bar", "off", "--require-hashes", *pins],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as pip:
        assert pip.stdout is not None
        said: list[str] = []
        for text in progress(recorded(pip.stdout, said), len(wanted)):
            line.show(text)
    line.end()
    if pip.returncode:
        print(*said[-KEPT:], sep="", file=sys.stderr)
    else:
        print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
    return pip.returncode


def recorded(lines: Iterable[str], said: list[str]) -> Iterator[str]:
    for each in lines:
        said.append(each)
        yield each


def progress(lines: Iterable[str], count: int) -> Iterator[str]:
    """The lines of progress for pip's output."""
    seen = 0
    for each in lines:
        if found := REACHED.match(each):
            seen += 1
            yield f"  {seen} of {count}  {found[1]}"
        elif each.startswith("Installing collected packages"):
            yield "  all packages are downloaded: unpacking"


class ProgressLine:
    """A line of output that the next one overwrites on a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._open = False

    def show(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._terminal else text, end="" if self._terminal else "\n", flush=True)
        self._open = self._terminal

    def end(self) -> None:
        if self._open:
            print(flush=True)
        self._open = False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
