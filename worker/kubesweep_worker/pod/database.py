"""Read the database's URL in a pod: from a mounted Secret, or from files that another container writes.

Both may appear late and change at any time, so each call reads again, and each connection uses the latest URL. ``where`` is
a sentence that says where the URL is configured; ``refreshed`` is True where something renews the password without an edit.
No message contains a value.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from kubesweep.api.database_url import (
    CA_FILE,
    FIELD,
    Parts,
    compose,
    missing,
    read_password,
    read_text,
    read_url,
    usable_url,
)
from kubesweep.errors import Outage, SpecError, SweepFailure
from kubesweep_worker.pod.environment import CODE, required
from kubesweep_worker.pod.mounted_secrets import SOON

__all__ = ["DatabaseFile", "DatabaseParts", "DatabaseUrl", "PodDatabase", "pod_database"]

_URL_FILE = "KUBESWEEP_DATABASE_URL_FILE"
_CONNECTION = "KUBESWEEP_DATABASE_CONNECTION"


class PodDatabase(Protocol):
    where: str
    refreshed: bool

    def __call__(self) -> str:
        """Raises Outage UrlMissing, which ends when the Secret is created, and SweepFailure UrlInvalid."""
        ...


def pod_database(environment: Mapping[str, str], namespace: str) -> PodDatabase:
    """The kind of URL that the environment names. Raises SpecError."""
    if text := environment.get(_CONNECTION):
        try:
            parts = msgspec.json.decode(text, type=Parts)
        except msgspec.DecodeError as error:
            fix = "the controller and this image (spec.worker.image) are of different versions: use the same version for both"
            raise SpecError(CODE, f"{_CONNECTION} cannot be read ({error}): {fix}") from None
        folder = Path(required(environment, "KUBESWEEP_DATABASE_DIR"))
        return DatabaseParts(parts, folder, namespace, environment.get("KUBESWEEP_DATABASE_VOLUME", ""))
    file = Path(required(environment, _URL_FILE))
    secret = environment.get("KUBESWEEP_DATABASE_SECRET")
    return DatabaseUrl(file, secret, namespace) if secret else DatabaseFile(file)


class DatabaseUrl:
    """The current URL in a mounted Secret. ``secret`` is its ``name/key``, for messages."""

    refreshed = False

    def __init__(self, file: Path, secret: str, namespace: str) -> None:
        name, _, self._key = secret.partition("/")
        self._file = file
        self._secret = f'the Secret "{name}" in namespace "{namespace}"'
        self.where = f'The URL is "{self._key}" in {self._secret}; change it there, and {SOON}.'

    def __call__(self) -> str:
        text = read_text(self._file, "spec.source.urlFrom.secretKeyRef").strip()
        if not text:
            raise Outage(
                "UrlMissing",
                f'no database URL: {self._secret} does not exist, or its key "{self._key}" is missing or empty. Create it '
                f"with {self._key}=postgresql://user:password@host:5432/database, and {SOON}",
            )
        return usable_url(text)


class DatabaseFile:
    """The URL in a file that is not mounted from a Secret of the spec, such as one that a sidecar writes."""

    refreshed = True

    def __init__(self, file: Path) -> None:
        self._file = file
        self.where = f"The URL is the file {file} in the worker's container, which is read for each connection."

    def __call__(self) -> str:
        return read_url(self._file, "spec.source.urlFrom, or a volume of spec.worker.podTemplate")


class DatabaseParts:
    """The URL composed of parts. ``folder``: where the parts of the Secret are mounted, each as a file with the part's name.
    ``volume``: the name of another volume of the pod template that is mounted there instead."""

    def __init__(self, parts: Parts, folder: Path, namespace: str, volume: str = "") -> None:
        self._parts, self._folder, self._namespace, self._volume = parts, folder, namespace, volume
        self.refreshed = bool(parts.password_file or volume)
        places = [FIELD]
        places += [self._place(parts.secret)] if parts.keys else []
        places += [f"the file {parts.password_file}"] if parts.password_file else []
        self.where = f"The credentials are in {' and '.join(places)}; change it there, and {SOON}."

    def __call__(self) -> str:
        parts, found = self._parts, read_together(self._folder, self._parts.files)
        if lacks := missing(parts, found):
            fix = f"or correct {FIELD}.secretRef (keys of {', '.join(lacks)})"
            raise self._outage("credentials", parts.secret, [(part, parts.keys[part]) for part in lacks], fix)
        if parts.ca and not found.get(CA_FILE):
            name, key = parts.ca
            raise self._outage("certificate", name, [(CA_FILE, key)], f"or correct {FIELD}.caFrom")
        if parts.password_file:
            found["password"] = read_password(Path(parts.password_file))
        try:
            return compose(parts, found, self._folder / CA_FILE if parts.ca else None)
        except ValueError as error:
            raise SweepFailure("UrlInvalid", f"{error}.") from None

    def _outage(self, what: str, secret: str, lacks: Sequence[tuple[str, str]], fix: str) -> Outage:
        """``lacks``: each missing file with its key in the Secret."""
        names = " and ".join(f'"{file if self._volume else key}"' for file, key in lacks)
        return Outage(
            "UrlMissing",
            f"no database {what}: {self._place(secret)} does not exist, or lacks {names} (or has it empty). Add it, and {SOON}; {fix}",
        )

    def _place(self, secret: str) -> str:
        if self._volume:
            return f'the volume "{self._volume}" of spec.worker.podTemplate, mounted at {self._folder},'
        return f'the Secret "{secret}" in namespace "{self._namespace}"'


def read_together(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Read the files of one version of a Secret, because user and password of a rotated Secret belong together. The kubelet mounts
    a Secret behind the link ``..data`` and swaps that link, so the files are read behind it, and again where it was swapped."""
    names = tuple(names)
    link = folder / "..data"
    while True:
        behind = os.path.realpath(link) if link.is_symlink() else str(folder)
        found = {name: read_text(Path(behind, name), FIELD) for name in names}
        if not link.is_symlink() or os.path.realpath(link) == behind:
            return found
