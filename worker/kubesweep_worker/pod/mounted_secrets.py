"""Headers and signing secrets from Secrets that are mounted into the pod. A Secret may be created late, change at any time, or be deleted.

The volume of a missing Secret is an empty folder; the kubelet swaps the files of a changed Secret about a minute after the
edit. So every call compares the result of ``stat``, and reads the files again where it changed. No message contains a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from kubesweep.api.plan import Plan
from kubesweep.api.secret_values import SIGNING_FILE, check_headers, check_signing_secrets
from kubesweep.errors import Outage
from kubesweep_worker.pod.environment import required

SOON = "the worker sees it within about two minutes"
_Version = tuple[tuple[str, int, int, int], ...]


class _Folder:
    """The files of a folder by name, without the hidden ones that the kubelet uses itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cached: tuple[_Version, dict[str, str]] | None = None

    def __call__(self) -> dict[str, str]:
        """Raises OSError and UnicodeDecodeError."""
        version = self._version()
        if self._cached is None or self._cached[0] != version:
            self._cached = version, {name: (self._path / name).read_text("utf-8") for name, *_ in version}
        return self._cached[1]

    def _version(self) -> _Version:
        try:
            names = sorted(name for name in os.listdir(self._path) if not name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        found = ((name, (self._path / name).stat()) for name in names)
        return tuple((name, at.st_ino, at.st_mtime_ns, at.st_size) for name, at in found)


class HeaderFiles:
    """The current headers in a mounted Secret, one for each entry."""

    def __init__(self, folder: Path, secret: str, namespace: str) -> None:
        self._folder = _Folder(folder)
        self._secret = f'the Secret "{secret}" in namespace "{namespace}" (effect.webhook.headersFrom)'

    def __call__(self) -> Mapping[str, str]:
        """Raises Outage: only an edit of the Secret helps, so no row may spend an attempt."""
        try:
            entries = self._folder()
            if not entries:
                raise Outage("HeadersMissing", f"{self._secret} does not exist, or is empty. Create it, and {SOON}")
            return check_headers(entries)
        except (ValueError, OSError) as error:
            problem = "an entry is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
            raise Outage("HeadersInvalid", f"{self._secret}: {problem}. Change it, and {SOON}") from None


class SigningFile:
    """The current signing secrets in the mounted entry of a Secret. ``secret`` is its ``name/key``, for messages."""

    def __init__(self, folder: Path, secret: str, namespace: str) -> None:
        self._folder = _Folder(folder)
        name, _, key = secret.partition("/")
        field = "effect.webhook.signWith"
        self._secret = f'the Secret "{name}" in namespace "{namespace}" ({field})'
        self._entry = f'the entry "{key}" of the Secret "{name}" in namespace "{namespace}" ({field})'
        self._key = key

    def __call__(self) -> tuple[str, ...]:
        """Raises Outage: only an edit of the Secret helps, so no row may spend an attempt."""
        try:
            entries = self._folder()
            if SIGNING_FILE not in entries:
                raise Outage(
                    "SigningSecretMissing",
                    f'{self._secret} does not exist, or has no entry "{self._key}". Create it, and {SOON}',
                )
            return check_signing_secrets(entries[SIGNING_FILE])
        except (ValueError, OSError) as error:
            problem = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
            raise Outage("SigningSecretInvalid", f"{self._entry}: {problem}. Change it, and {SOON}") from None


def mounted_headers(environment: Mapping[str, str], plan: Plan) -> Callable[[], Mapping[str, str]]:
    """The headers of the plan's webhook. Raises SpecError where the environment does not name their folder."""
    hook = plan.effect.webhook if plan.effect else None
    if hook is None or hook.headers_secret is None:
        return dict
    folder = Path(required(environment, "KUBESWEEP_HEADERS_DIR"))
    return HeaderFiles(folder, hook.headers_secret, plan.namespace)


def mounted_signing(environment: Mapping[str, str], plan: Plan) -> Callable[[], tuple[str, ...]]:
    """The signing secrets of the plan's webhook. Raises SpecError as above."""
    hook = plan.effect.webhook if plan.effect else None
    if hook is None or hook.sign_with is None:
        return tuple
    return SigningFile(Path(required(environment, "KUBESWEEP_SIGNING_DIR")), hook.sign_with, plan.namespace)


__all__ = ["SOON", "HeaderFiles", "SigningFile", "mounted_headers", "mounted_signing"]
