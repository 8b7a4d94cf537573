"""Loads the files of a local run: SweepSchedules and the Secrets that they name, in the format of a cluster.

All problems of all files are reported together, each with its line. No message contains a value of a Secret.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kubesweep.api import problems
from kubesweep.api.compile import compile_plan
from kubesweep.api.loading import validation, yaml_document
from kubesweep.api.loading.documents import parse_schedule, read_text
from kubesweep.api.loading.local_database import LocalDatabase, Resolver
from kubesweep.api.loading.variables import VariableError, expand
from kubesweep.api.loading.yaml_document import Document
from kubesweep.api.models.secret import Secret
from kubesweep.api.models.spec import API_VERSION, KIND, SweepSchedule
from kubesweep.api.plan import Plan
from kubesweep.api.problems import Problem, SpecErrors
from kubesweep.api.secret_values import check_headers, check_signing_secrets
from kubesweep.queue.model import ScheduleRef
from kubesweep.ticks import Ticks

SUFFIXES = (".yaml", ".yml")
_Object = TypeVar("_Object", SweepSchedule, Secret)


@dataclass(frozen=True)
class Loaded:
    """One schedule, ready to run. ``database``, ``headers`` and ``signing`` are secret and not part of the repr."""

    spec: SweepSchedule
    plan: Plan
    origin: str  # file:line
    database: LocalDatabase = field(repr=False)
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    signing: tuple[str, ...] = field(repr=False, default=())  # secrets that sign the webhook's requests

    @property
    def url(self) -> str:
        """The current URL of the database. Raises Outage or SweepFailure if it is in a file that cannot be read."""
        return self.database.read()

    @property
    def ref(self) -> ScheduleRef:
        return self.plan.ref

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def file(self) -> Path:
        """``-`` for stdin."""
        return Path(self.origin.rpartition(":")[0])

    @property
    def ticks(self) -> Ticks:
        return self.spec.spec.ticks

    @property
    def deadline(self) -> float | None:
        """Seconds after which a late tick is missed."""
        seconds = self.spec.spec.starting_deadline_seconds
        return None if seconds is None else float(seconds)

    @property
    def suspend(self) -> bool:
        return self.spec.spec.suspend


def load(
    paths: Sequence[Path], *, generation: int = 0, url: str | None = None, environ: Mapping[str, str] = os.environ
) -> list[Loaded]:
    """Read YAML files, or folders of them, in the given order; ``-`` is stdin.

    ``generation`` is used where the metadata has none. ``url`` replaces the database's URL of every schedule. ``environ`` has the
    variables of Secrets. Raises ``SpecErrors`` with all problems.
    """
    found = _Loader(generation, url, environ)
    for path in paths:
        for file in found.files(Path(path)):
            found.read(file)
    return found.resolve()


def load_text(text: str, file: str, *, url: str | None = None, environ: Mapping[str, str] = os.environ) -> list[Loaded]:
    """Like ``load``, for a text that is not in ``file`` yet."""
    found = _Loader(0, url, environ)
    found.read_text(text, file)
    return found.resolve()


class _Loader:
    """Collects objects and problems over all files, then joins schedules with Secrets."""

    def __init__(self, generation: int, url: str | None, environ: Mapping[str, str]) -> None:
        self.generation = generation
        self.url = url
        self.environ = environ
        self.problems: list[Problem] = []
        self.order: dict[str, int] = {}
        self.schedules: dict[tuple[str, str], tuple[Document, SweepSchedule]] = {}
        self.secrets: dict[tuple[str, str], tuple[Document, Secret]] = {}
        self.has_invalid_secret = False

    def files(self, path: Path) -> Iterator[Path]:
        if not path.is_dir():
            yield path
            return
        inside = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and each.is_file())
        if not inside:
            self.problems.append(Problem("NoSchedule", "the folder has no *.yaml or *.yml file", str(path)))
        yield from inside

    def read(self, path: Path) -> None:
        file = str(path)
        self.order.setdefault(file, len(self.order))
        text = read_text(path)
        if isinstance(text, Problem):
            self.problems.append(text)
        else:
            self.read_text(text, file)

    def read_text(self, text: str, file: str) -> None:
        before = len(self.problems)
        documents = 0
        for each in yaml_document.read(text, file):
            if isinstance(each, Problem):
                self.problems.append(each)
            elif each.data is not None or each.problems:
                documents += 1
                self._document(each)
        if not documents and len(self.problems) == before:
            self.problems.append(Problem("NoSchedule", f"is empty: it should contain a {KIND}", file))

    def _document(self, document: Document) -> None:
        data = document.data if isinstance(document.data, dict) else {}
        kind, version = data.get("kind"), data.get("apiVersion")
        if document.problems:
            self.problems += document.problems
            self.has_invalid_secret |= kind != KIND
        elif kind == "Secret":
            secret = self._parse(document, Secret, secret=True)
            self.has_invalid_secret |= secret is None
            if secret:
                self._add(self.secrets, document, secret)
        elif kind == KIND:
            schedule, found = parse_schedule(document)
            self.problems += found
            if schedule:
                self._add(self.schedules, document, schedule)
        else:
            allowed = (f"{KIND} ({API_VERSION})", "Secret (v1)")
            near = validation.nearest(str(kind), (KIND, "Secret")) if kind else ""
            given = problems.shown(f"{kind} ({version})") if kind else "nothing"
            where: problems.Path = ("kind",) if "kind" in data else ()
            self.problems.append(
                document.problem("WrongKind", "not a supported kind", where, given=given, nearest=near, allowed=allowed)
            )

    def _parse(self, document: Document, model: type[_Object], *, secret: bool = False) -> _Object | None:
        made, found = validation.parse(document, model, secret=secret)
        self.problems += found
        return made

    def _add(
        self, kept: dict[tuple[str, str], tuple[Document, Any]], document: Document, made: SweepSchedule | Secret
    ) -> None:
        meta = made.metadata
        first = kept.setdefault((meta.namespace, meta.name), (document, made))[0]
        if first is not document:
            text = f'{made.kind} "{meta.name}" in namespace "{meta.namespace}" was given before, at {first.file}:{first.line}'
            self.problems.append(document.problem(f"Duplicate{made.kind}", text, ("metadata", "name")))

    def resolve(self) -> list[Loaded]:
        loaded = [each for each in (self._resolve(*pair) for pair in self.schedules.values()) if each]
        if not self.problems and not loaded:
            files = ", ".join(self.order) or "no file"
            self.problems.append(Problem("NoSchedule", f"no {KIND} in the given files", files))
        if self.problems:
            raise SpecErrors(
                sorted(self.problems, key=lambda each: (self.order.get(each.file, -1), each.line, each.column))
            )
        return loaded

    def _resolve(self, document: Document, schedule: SweepSchedule) -> Loaded | None:
        database, headers = self._database(document, schedule), self._headers(document, schedule)
        signing = self._signing(document, schedule)
        if database is None or headers is None or signing is None:
            return None
        generation = schedule.metadata.generation or self.generation
        plan = compile_plan(schedule, generation=generation)
        return Loaded(schedule, plan, f"{document.file}:{document.line}", database, headers, signing)

    def _database(self, document: Document, schedule: SweepSchedule) -> LocalDatabase | None:
        source = schedule.spec.source
        resolver = self._resolver(document, schedule)
        if self.url is not None:
            return resolver.url(self.url)
        if source.url_from is not None:
            return resolver.url_from(source.url_from)
        assert source.connection is not None  # exactly one of the two is given
        return resolver.connection(source.connection)

    def _headers(self, document: Document, schedule: SweepSchedule) -> Mapping[str, str] | None:
        hook = schedule.spec.effect.webhook if schedule.spec.effect else None
        if hook is None or hook.headers_from is None:
            return {}
        path = ("spec", "effect", "webhook", "headersFrom", "secretRef", "name")
        values = self._secret(document, schedule, hook.headers_from.secret_ref.name, path)
        try:
            return None if values is None else check_headers(values)
        except ValueError as error:
            self.problems.append(document.problem("BadHeader", str(error), path))
            return None

    def _signing(self, document: Document, schedule: SweepSchedule) -> tuple[str, ...] | None:
        hook = schedule.spec.effect.webhook if schedule.spec.effect else None
        if hook is None or hook.sign_with is None:
            return ()
        ref, path = hook.sign_with.secret_key_ref, ("spec", "effect", "webhook", "signWith", "secretKeyRef")
        text = self._resolver(document, schedule).entry(ref, path)
        try:
            return None if text is None else check_signing_secrets(text)
        except ValueError as error:
            why = f'the entry "{ref.key}" of the Secret "{ref.name}": {error}'
            self.problems.append(document.problem("BadSigningSecret", why, (*path, "key")))
            return None

    def _resolver(self, document: Document, schedule: SweepSchedule) -> Resolver:
        def values(name: str, path: problems.Path, keys: Collection[str]) -> Mapping[str, str] | None:
            return self._secret(document, schedule, name, path, keys)

        return Resolver(document, values, self.problems)

    def _secret(
        self,
        document: Document,
        schedule: SweepSchedule,
        name: str,
        path: problems.Path,
        keys: Collection[str] | None = None,
    ) -> Mapping[str, str] | None:
        """The values of a Secret, with the variables of ``keys`` (None: of all) replaced; None where it or a variable is missing."""
        space = schedule.metadata.namespace
        if (space, name) in self.secrets:
            return self._expanded(*self.secrets[space, name], keys)
        elsewhere = [other for other, known in self.secrets if known == name]
        if elsewhere:
            text = f'the Secret "{name}" is in namespace "{elsewhere[0]}", the schedule in "{space}"'
        else:
            text = f'no Secret "{name}" in the given files: add its file with -f'
        if not self.has_invalid_secret:
            self.problems.append(document.problem("SecretMissing", text, path))
        return None

    def _expanded(self, document: Document, secret: Secret, keys: Collection[str] | None) -> Mapping[str, str] | None:
        """Only ``keys`` count: with --url, the variable of the URL may be unset."""
        values, found = dict(secret.values), list[Problem]()
        for key, text in (secret.string_data or {}).items():
            if keys is None or key in keys:
                try:
                    values[key] = expand(text, self.environ)
                except VariableError as error:
                    found.append(document.problem(error.code, str(error), ("stringData", key)))
        self.problems += [each for each in found if each not in self.problems]
        return None if found else values


__all__ = ["Loaded", "load", "load_text"]
