"""Finds the database's URL of a local run, in the Secrets next to the schedule or in files."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubesweep.api.database_url import CA_FILE, FIELD, Parts, compose, missing, read_password, read_url
from kubesweep.api.loading import validation
from kubesweep.api.loading.variables import check_unbraced
from kubesweep.api.loading.yaml_document import Document
from kubesweep.api.models.connection import Connection, SecretKeyRef, UrlFrom
from kubesweep.api.problems import Path as Where
from kubesweep.api.problems import Problem
from kubesweep.api.secret_values import check_url

SecretValues = Callable[[str, Where, Collection[str]], Mapping[str, str] | None]
SOURCE: Where = ("spec", "source")
_ADVICE = "In a cluster a container of the pod writes it. In a local run, write it yourself, or pass --url"


@dataclass(frozen=True)
class LocalDatabase:
    """``read`` returns the current URL. ``where`` is a sentence for people that says where it is."""

    read: Callable[[], str]
    where: str = ""
    refreshed: bool = False


class Resolver:
    """Resolves the database of one document, and appends what is wrong to ``problems``.

    ``secret_values`` returns the values of a Secret by its name; those of the given keys are used. If the Secret or a variable is
    missing, it reports that and returns None.
    """

    def __init__(self, document: Document, secret_values: SecretValues, problems: list[Problem]) -> None:
        self._document, self._secret_values, self._problems = document, secret_values, problems

    def url(self, text: str, path: Where = SOURCE) -> LocalDatabase | None:
        """A given URL, from a Secret or the command line."""
        try:
            check_unbraced(text)
            checked = check_url(text)
        except ValueError as error:
            self._refuse("BadDatabaseUrl", str(error), path)
            return None
        return LocalDatabase(lambda: checked)

    def url_from(self, source: UrlFrom) -> LocalDatabase | None:
        if source.file is not None:
            file = Path(source.file)
            where = f"The URL is the file {file} (spec.source.urlFrom.file)."
            return LocalDatabase(lambda: read_url(file, "spec.source.urlFrom.file", _ADVICE), where, refreshed=True)
        assert source.secret_key_ref is not None  # exactly one of the two is given
        path = (*SOURCE, "urlFrom", "secretKeyRef")
        text = self.entry(source.secret_key_ref, path)
        return None if text is None else self.url(text, path)

    def connection(self, connection: Connection) -> LocalDatabase | None:
        parts = connection.parts
        found = self._found(parts) if parts.keys else {}
        ca = connection.ca_from
        ca_path = (*SOURCE, "connection", "caFrom", "secretKeyRef")
        certificate = self.entry(ca.secret_key_ref, ca_path) if ca else None
        if found is None or (ca and certificate is None):
            return None
        read = _Reader(parts, found, certificate)
        try:  # check the Secret now; a password file may be written later
            compose(parts, {**found, "password": "-"})
        except ValueError as error:
            self._refuse("BadDatabaseUrl", str(error), (*SOURCE, "connection"))
            return None
        with_secret = f' with the Secret "{parts.secret}"' if parts.keys else ""
        return LocalDatabase(read, f"The credentials are {FIELD}{with_secret}.", refreshed=bool(parts.password_file))

    def _found(self, parts: Parts) -> dict[str, str] | None:
        """The values of the Secret for the parts that are read from it."""
        path = (*SOURCE, "connection", "secretRef")
        values = self._secret_values(parts.secret, (*path, "name"), parts.keys.values())
        if values is None:
            return None
        found = {part: values[key] for part, key in parts.keys.items() if key in values}
        lacking = missing(parts, found)
        for part in lacking:
            key = parts.keys[part]
            how = "is empty in" if key in values else "is missing in"
            instead = f"write {FIELD}.{'passwordFile' if part == 'password' else part}"
            text = f'the key "{key}" {how} the Secret "{parts.secret}": name the one that has the {part} in keys.{part}, or {instead}'
            self._missing_key(text, key, values, path)
        return None if lacking else found

    def entry(self, ref: SecretKeyRef, path: Where) -> str | None:
        """The text of a Secret's entry; None where it is missing, which is reported."""
        values = self._secret_values(ref.name, (*path, "name"), (ref.key,))
        if values is None:
            return None
        if ref.key not in values:
            self._missing_key(f'the Secret "{ref.name}" has no entry "{ref.key}"', ref.key, values, (*path, "key"))
            return None
        return values[ref.key]

    def _missing_key(self, text: str, key: str, values: Mapping[str, str], path: Where) -> None:
        allowed = tuple(sorted(values))
        problem = self._document.problem(
            "SecretKeyMissing",
            text,
            path,
            allowed=allowed,
            nearest="" if key in values else validation.nearest(key, allowed),
        )
        self._problems.append(problem)

    def _refuse(self, code: str, text: str, path: Where) -> None:
        self._problems.append(self._document.problem(code, text, path))


class _Reader:
    """Composes the URL at each call, because a password file may change. libpq reads the certificate from a file only."""

    def __init__(self, parts: Parts, found: Mapping[str, str], certificate: str | None) -> None:
        self._parts, self._found, self._certificate = parts, found, certificate
        self._folder: Path | None = None

    def __call__(self) -> str:
        found = dict(self._found)
        if self._parts.password_file:
            found["password"] = read_password(Path(self._parts.password_file), _ADVICE)
        return compose(self._parts, found, self._ca_file())

    def _ca_file(self) -> Path | None:
        if self._certificate is None:
            return None
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="kubesweep-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        file = self._folder / CA_FILE
        if not file.exists():
            file.write_text(self._certificate, "utf-8")
        return file
