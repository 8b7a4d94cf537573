"""Opens the queue that a URL names, by its scheme. A further kind of queue is one entry in ``_OPENERS``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kubesweep.errors import SpecError
from kubesweep.queue.service import QueueService
from kubesweep.queue.sqlite.queue import SqliteQueue

Clock = Callable[[], float]

_CODE = "QueueUrl"
_KNOWN = (
    "sqlite:///file.db (relative), sqlite:////var/lib/kubesweep/queue.db (absolute) or redis://host:6379/0 "
    "(also rediss, unix, redis+sentinel and redis+cluster)"
)


def connect(url: str, *, clock: Clock = time.time) -> QueueService:
    """Open the queue that ``url`` names. Nothing is read or written before the first operation.

    ``sqlite:///relative.db`` or ``sqlite:////absolute.db``; a missing parent folder is created. docs/redis.md describes
    the URLs of Redis. ``clock`` gives seconds since the epoch. Raises ``SpecError`` (code ``QueueUrl``) for a URL that names no queue.
    """
    scheme, colon, _ = url.partition(":")
    opener = _OPENERS.get(scheme.lower()) if colon else None
    if opener is None:
        raise SpecError(_CODE, f"queue URL {_shown(url)!r}: no such kind of queue. Use {_KNOWN}")
    return opener(url, clock)


def _sqlite(url: str, clock: Clock) -> QueueService:
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    if parts.netloc:
        raise SpecError(_CODE, f"queue URL {url!r}: a file has no host. Write three slashes, or four: {_KNOWN}")
    if not path or path == ":memory:":
        raise SpecError(_CODE, f"queue URL {url!r}: a queue is shared between processes and needs a file. Use {_KNOWN}")
    if parts.query or parts.fragment:
        raise SpecError(_CODE, f"queue URL {url!r}: takes no options after ? or #. Use {_KNOWN}")
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(
            _CODE, f"queue URL {url!r}: the folder {folder} cannot be created ({error.strerror}). Name another one"
        ) from error
    if Path(path).is_dir():
        raise SpecError(_CODE, f"queue URL {url!r}: {path} is a folder. Name a file in it: {url.rstrip('/')}/queue.db")
    return SqliteQueue(path, clock=clock)


def _redis(url: str, clock: Clock) -> QueueService:
    from kubesweep.queue.redis.queue import (
        RedisQueue,
    )  # imported late: a local run with a file does not need the client

    # Use the clock of the server, which is the same for all hosts.
    return RedisQueue(url, clock=None if clock is time.time else clock)


def _shown(url: str) -> str:
    """The URL without user and password."""
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


_OPENERS: dict[str, Callable[[str, Clock], QueueService]] = {
    "sqlite": _sqlite,
    **dict.fromkeys(("redis", "rediss", "valkey", "valkeys", "unix"), _redis),
    **dict.fromkeys(("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"), _redis),
}

__all__ = ["connect"]
