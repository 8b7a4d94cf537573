"""Headers that Kubernetes mounts into a pod out of a Secret: text that may come late, change at any time, and go.

A volume of a Secret that does not exist is an empty folder, and one that is rotated is swapped as a whole, a minute or
so after the edit. So nothing is read once and for all; looking is a ``stat``, reading happens when that changed.
No message here holds a value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from kubesweep.api.models.secret_values import check_headers
from kubesweep.errors import Outage

SOON = "the worker sees it within about two minutes"
_Stamp = tuple[tuple[str, int, int, int], ...]


class _Folder:
    """The files of a folder, by name, without those that Kubernetes keeps its own books in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[_Stamp, dict[str, str]] | None = None

    def __call__(self) -> dict[str, str]:
        """Raises OSError and UnicodeDecodeError."""
        stamp = self._stamp()
        if self._seen is None or self._seen[0] != stamp:
            self._seen = stamp, {name: (self._path / name).read_text("utf-8") for name, *_ in stamp}
        return self._seen[1]

    def _stamp(self) -> _Stamp:
        try:
            names = sorted(name for name in os.listdir(self._path) if not name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        found = ((name, (self._path / name).stat()) for name in names)
        return tuple((name, at.st_ino, at.st_mtime_ns, at.st_size) for name, at in found)


class HeaderFiles:
    """The headers in a mounted Secret, each entry one header, as they are now."""

    def __init__(self, folder: Path, secret: str, namespace: str) -> None:
        self._folder = _Folder(folder)
        self._secret = f'the Secret "{secret}" in namespace "{namespace}" (effect.webhook.headersFrom)'

    def __call__(self) -> Mapping[str, str]:
        """Raises Outage: no row is to blame for what an edit of the Secret cures."""
        try:
            entries = self._folder()
            if not entries:
                raise Outage("HeadersMissing", f"{self._secret} does not exist, or is empty. Create it, and {SOON}")
            return check_headers(entries)
        except (ValueError, OSError) as error:
            said = "an entry is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
            raise Outage("HeadersInvalid", f"{self._secret}: {said}. Change it, and {SOON}") from None


__all__ = ["SOON", "HeaderFiles"]
