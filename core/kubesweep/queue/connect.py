"""Opens the queue that a URL names, by its scheme. A further kind of queue is one entry in ``_OPENERS``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from kubesweep.errors import SpecError
from kubesweep.queue.service import QueueService
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep.text import clip
from kubesweep.urls import shown_url

Clock = Callable[[], float]

_CODE = "QueueUrl"
_KNOWN = (
    "sqlite:///file.db (relative), sqlite:////var/lib/kubesweep/queue.db (absolute) or redis://host:6379/0 "
    "(also rediss, unix, redis+sentinel and redis+cluster)"
)


def connect(url: str, *, clock: Clock = time.time, create: bool = True) -> QueueService:
    """Open the queue that ``url`` names. Nothing is read or written before the first operation.

    ``sqlite:///relative.db`` or ``sqlite:////absolute.db``; a missing file is created with its parent folder, unless ``create`` is
    False. docs/redis.md describes the URLs of Redis. ``clock`` gives seconds since the epoch. Raises ``SpecError`` (code ``QueueUrl``)
    for a URL that names no queue, and for a missing file that must not be created.
    """
    scheme, colon, _ = url.partition(":")
    opener = _OPENERS.get(scheme.lower()) if colon else None
    if opener is None:
        raise _bad(url, "no such kind of queue")
    return opener(url, clock, create)


def _sqlite(url: str, clock: Clock, create: bool) -> QueueService:
    host, _, path = url.partition(":")[2].removeprefix("//").partition("/")
    path, options = unquote(re.split("[?#]", path, maxsplit=1)[0]), re.search("[?#]", url)
    if host:
        raise _bad(url, "a file has no host. Write three slashes, or four")
    if not path or path == ":memory:":
        raise _bad(url, "a queue is shared between processes and needs a file")
    if options:
        raise _bad(url, "takes no options after ? or #")
    if not path.isprintable():
        raise _bad(url, "its path has a character that cannot be printed")
    folder, shown = Path(path).parent, shown_url(url)
    try:
        if not (create or Path(path).exists()):
            why = (
                f"there is no file {clip(path, 200)}, and only commands that start sweeps create one. Correct the path"
            )
            raise SpecError(_CODE, f"queue URL {shown!r}: {why}")
        folder.mkdir(parents=True, exist_ok=True)
        is_folder = Path(path).is_dir()
    except OSError as error:
        why = f"{clip(path, 200)} cannot be {'created' if create else 'opened'} ({error.strerror})"
        raise SpecError(_CODE, f"queue URL {shown!r}: {why}. Name another file") from error
    if is_folder:
        raise SpecError(
            _CODE, f"queue URL {shown!r}: {path} is a folder. Name a file in it: {shown.rstrip('/')}/queue.db"
        )
    return SqliteQueue(path, clock=clock)


def _redis(url: str, clock: Clock, create: bool) -> QueueService:
    from kubesweep.queue.redis.queue import (
        RedisQueue,
    )  # imported late: a local run with a file does not need the client

    # Use the clock of the server, which is the same for all hosts.
    return RedisQueue(url, clock=None if clock is time.time else clock)


def _bad(url: str, why: str) -> SpecError:
    return SpecError(_CODE, f"queue URL {shown_url(url)!r}: {why}. Use {_KNOWN}")


_OPENERS: dict[str, Callable[[str, Clock, bool], QueueService]] = {
    "sqlite": _sqlite,
    **dict.fromkeys(("redis", "rediss", "valkey", "valkeys", "unix"), _redis),
    **dict.fromkeys(("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"), _redis),
}

__all__ = ["connect"]
