"""Remembers in the state folder which file a schedule of a queue came from, so that printed commands can name it.

The queue has plans, not files. The record is a convenience: where it is missing, a command is described in words. It has no URL, because
that may contain a password.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kubesweep.errors import KubesweepError
from kubesweep.queue.model import ScheduleRef
from kubesweep_cli.shell.schedule_files import file_options
from kubesweep_cli.shell.state_paths import program, queue_option, state_folder

__all__ = ["KnownFile", "known_files", "remember_files", "run_again"]

MOST = 1000  # schedules; the oldest are forgotten
WORDS = "run it with its file, unless a `run` or `worker` is already running"
RUNS_IT = "run it, unless a `run` or `worker` is already running"


class KnownFile(NamedTuple):
    file: Path
    url: str  # ``--url`` as it is printed; empty without


def remember_files(queue: str, found: Iterable[tuple[ScheduleRef, Path]], url: str = "") -> None:
    """``queue``: its URL. ``url``: the option as :func:`url_option` prints it. Errors are ignored."""
    with suppress(OSError, KubesweepError, ValueError):
        place = _place()
        kept = _read(place)
        for ref, file in found:
            if file.is_file():
                kept.pop(_key(queue, ref), None)
                kept[_key(queue, ref)] = [str(file.absolute()), url]
        text = json.dumps(dict(list(kept.items())[-MOST:]))
        new = place.with_suffix(f".{os.getpid()}")
        new.write_text(text)
        new.replace(place)  # as a whole, whatever other commands write at this moment


def known_files(queue: str, refs: Sequence[ScheduleRef]) -> list[KnownFile]:
    """One entry for each file, in the order of ``refs``; empty unless the files of all of them are known and still exist."""
    found: dict[KnownFile, None] = {}
    with suppress(OSError, KubesweepError, ValueError):
        kept = _read(_place())
        for ref in refs:
            entry = kept.get(_key(queue, ref))
            if entry is None or not Path(entry[0]).is_file():
                return []
            found[KnownFile(Path(entry[0]), entry[1])] = None
    return list(found)


def run_again(queue: str, refs: Sequence[ScheduleRef], option: str | None) -> tuple[str, str]:
    """The command that runs these schedules once, and its purpose. The command is empty where their files are not known."""
    files = known_files(queue, refs)
    urls = {each.url for each in files}
    if len(urls) != 1:
        return "", WORDS
    return (
        f"{program()} run --once {file_options([each.file for each in files])}{urls.pop()}{queue_option(option)}",
        RUNS_IT,
    )


def _place() -> Path:
    return state_folder() / "files.json"


def _read(place: Path) -> dict[str, list[str]]:
    try:
        kept = json.loads(place.read_text())
    except (OSError, ValueError):
        return {}
    good = isinstance(kept, dict) and all(isinstance(each, list) and len(each) == 2 for each in kept.values())
    return kept if good else {}


def _key(queue: str, ref: ScheduleRef) -> str:
    where = hashlib.sha256(queue.encode()).hexdigest()[:16]  # the URL may have a password
    return f"{where}/{ref.namespace}/{ref.name}"
