"""From a URL to a queue. The scheme decides; a further kind of queue is one entry in ``_OPENERS``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kubesweep.errors import SpecError
from kubesweep.queue.service import QueueService
from kubesweep.queue.sqlite import SqliteQueue

Clock = Callable[[], float]

_CODE = "queue-url"
_KNOWN = "sqlite:///file.db (beside you) or sqlite:////var/lib/kubesweep/queue.db (absolute)"


def connect(url: str, *, clock: Clock = time.time) -> QueueService:
    """Open the queue that ``url`` names; nothing is read or written before the first move.

    ``sqlite:///relative.db`` or ``sqlite:////absolute.db``; a missing parent folder is made. ``clock`` gives seconds
    since the epoch. Raises ``SpecError`` (code ``queue-url``) for a URL that names no queue.
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
            _CODE, f"queue URL {url!r}: the folder {folder} cannot be made ({error.strerror}). Name another one"
        ) from error
    if Path(path).is_dir():
        raise SpecError(_CODE, f"queue URL {url!r}: {path} is a folder. Name a file in it: {url.rstrip('/')}/queue.db")
    return SqliteQueue(path, clock=clock)


def _later(url: str, clock: Clock) -> QueueService:
    raise SpecError(_CODE, f"queue URL {_shown(url)!r}: not supported by this version. Use {_KNOWN}")


def _shown(url: str) -> str:
    """The URL without what may be a password."""
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


_OPENERS: dict[str, Callable[[str, Clock], QueueService]] = {
    "sqlite": _sqlite,
    "redis": _later,
    "rediss": _later,
    "valkey": _later,
    "valkeys": _later,
    "redis+sentinel": _later,
}

__all__ = ["connect"]
