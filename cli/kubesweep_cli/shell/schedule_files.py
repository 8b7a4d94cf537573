"""The files of schedules on the command line: as FILE or with -f, and those that the working folder has."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kubesweep.errors import SpecError
from kubesweep_cli.shell.state_paths import program

__all__ = ["STDIN", "file_options", "files_here", "names_in", "needed_files"]

STDIN = Path("-")
_READ = 100_000  # characters of a file
_MOST = 50  # files of the working folder
_NAME_LIKE = re.compile(r"[a-z][a-z0-9-]*")
_SCHEDULE = re.compile(r"^kind: *[\"']?SweepSchedule\b", re.MULTILINE)
_NAME = re.compile(r"^metadata: *(?:\{[^}\n]*?\bname|\n(?: +.*\n)*? +name): *[\"']?([a-z0-9.-]+)", re.MULTILINE)


def needed_files(verb: str, paths: Sequence[Path] | None, files: Sequence[Path] | None) -> list[Path]:
    """The FILE arguments and the values of -f, in this order. Raises SpecError where there are none, or a name instead."""
    found = [*(paths or ()), *(files or ())]
    if not found:
        here = files_here()
        example = shlex.quote(str(here[0])) if here else "sweep.yaml"
        raise SpecError(
            "FileNeeded",
            f"{verb} needs the file of a schedule, as an argument or with -f (--file).\n"
            f"Name it:  {program()} {verb} {example}",
        )
    for path in paths or ():
        if _NAME_LIKE.fullmatch(str(path)) and not path.exists():
            raise SpecError(
                "FileNeeded",
                f"{verb} takes files, and there is no file {path}.\n"
                f"If {path} is a schedule of the queue, sweep it now:  {program()} trigger {path}",
            )
    if STDIN in found and sys.stdin.isatty():
        print("reading YAML from the terminal, until Ctrl-D", file=sys.stderr)
    return found


def file_options(files: Sequence[Path]) -> str:
    """``-f`` for each file, for a printed command."""
    return " ".join(f"-f {shlex.quote(str(file))}" for file in files)


def files_here() -> list[Path]:
    """Files of the working folder that have a schedule."""
    found = []
    with suppress(OSError):
        listed = sorted(each for each in Path().iterdir() if each.suffix in (".yaml", ".yml"))
        found = [each for each in listed[:_MOST] if _SCHEDULE.search(_text(each))]
    return found


def names_in(file: Path) -> list[str]:
    """The names of the schedules in a file, for a message. Best effort: the file may be anything."""
    documents = re.split(r"^---", _text(file), flags=re.MULTILINE)
    found = [_NAME.search(each) for each in documents if _SCHEDULE.search(each)]
    return [match.group(1) for match in found if match is not None]


def _text(file: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        if file.is_file():
            with file.open(encoding="utf-8") as stream:
                return stream.read(_READ)
    return ""
