"""Removes secrets from objects and logs. Pure: ``learn`` all objects first, then redact objects and logs.

Three rules, each of which would do for most secrets:

- By place: a literal variable of a container is shown only if its name is on a list; so is the value of an annotation. Arguments of commands,
  HTTP headers, data of Secrets and ConfigMaps, and what was last applied are not shown.
- By shape: see :mod:`.secret_texts`.
- By value: what the first rule removed is removed from all other texts too, in any encoding that :mod:`kubesweep.masking` recognizes.

A secret that a handler prints in a sentence, and that is in no object, is not found. The report says so.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubectl_sweep.report.secret_texts import MASK, looks_secret, mask_text
from kubesweep.masking import masking

__all__ = ["Redactor"]

SHOWN_VARIABLES = frozenset(
    {
        "KUBESWEEP_PLAN", "KUBESWEEP_QUEUE", "KUBESWEEP_LOG_LEVEL", "KUBESWEEP_STARTING_DEADLINE", "KUBESWEEP_TICKS_SINCE",
        "KUBESWEEP_HEADERS_DIR", "KUBESWEEP_SIGNING_DIR", "KUBESWEEP_DATABASE_URL_FILE", "KUBESWEEP_DATABASE_SECRET",
        "KUBESWEEP_DATABASE_CONNECTION", "KUBESWEEP_DATABASE_DIR", "KUBESWEEP_DATABASE_VOLUME", "KUBESWEEP_METRICS",
        "KUBESWEEP_NAMESPACES", "KUBESWEEP_CONSOLE", "PYTHONPATH", "PYTHONUNBUFFERED", "TZ", "LANG",
    }
)  # fmt: skip
SHOWN_ANNOTATIONS = ("kubesweep.dev/", "deployment.kubernetes.io/", "batch.kubernetes.io/", "autoscaling.keda.sh/", "prometheus.io/",
                     "cluster-autoscaler.kubernetes.io/", "meta.helm.sh/", "helm.sh/")  # fmt: skip
OUR_PROGRAMS = ("kubesweep-worker", "kubesweep-controller")
_REMOVED = ("managedFields",)
_DATA = ("data", "stringData", "binaryData", "volumeAttributes", "httpHeaders", "headers")
_LISTS_OF_WORDS = ("command", "args")
_KEYS = ("sampleKeys", "sample_keys", "key", "keys", "row")  # keys of rows, in a status and in the records of a log
SHORTEST = 6  # characters of a secret that is looked for in other texts
SHORTEST_KEY = 4


class Redactor:
    """``names``: names of objects, which are never taken for secrets unless a field says so."""

    def __init__(self, *, with_keys: bool = False, names: Sequence[str] = ()) -> None:
        self.with_keys = with_keys
        self.hidden = 0  # values that were removed by their place
        self._names = frozenset(names)
        self._values: dict[str, None] = {}
        self._row_keys: dict[str, None] = {}
        self._mask: Callable[[str], str] | None = None
        self._learning = False

    def learn(self, value: Any) -> None:
        """Find the secrets of an object. Call this for all objects before anything is redacted."""
        self._learning = True
        try:
            self._walk(value, ())
        finally:
            self._learning, self._mask = False, None

    def object(self, value: Any) -> Any:
        """A copy without secrets."""
        return self._walk(value, ())

    def log(self, text: str) -> str:
        """The lines of a log. A line that is JSON is redacted as an object, so that it stays JSON."""
        return "\n".join(self._line(line) for line in text.split("\n"))

    def text(self, text: str) -> str:
        if self._learning:
            return text
        text = self._without_values(text)
        if not self.with_keys and self._row_keys:
            words = sorted(map(re.escape, self._row_keys), key=len, reverse=True)
            text = re.sub(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", MASK, text)
        return mask_text(text, with_keys=self.with_keys)

    def _without_values(self, text: str) -> str:
        if self._mask is None:
            self._mask = masking(self._values)
        return self._mask(text)

    def _line(self, line: str) -> str:
        if line.lstrip().startswith("{"):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                return self.text(line)
            return json.dumps(self.object(record), ensure_ascii=False)
        return self.text(line)

    def _walk(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, list | tuple):
            return [self._walk(each, path) for each in value]
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or self._learning:
            return value
        return value if self._without_values(str(value)) == str(value) else MASK

    def _mapping(self, value: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, inner in value.items():
            name = str(name)
            if name in _REMOVED:
                continue
            made[self.text(name)] = self._field(value, name, inner, path)
        return made

    def _field(self, owner: Mapping[str, Any], name: str, value: Any, path: tuple[str, ...]) -> Any:
        if name == "annotations" and isinstance(value, Mapping):
            return {self.text(str(key)): self._annotation(str(key), each) for key, each in value.items()}
        if name in _DATA and isinstance(value, Mapping | list):
            return self._hide(value, certain=True)
        if name in _LISTS_OF_WORDS and isinstance(value, list):
            return self._words(value)
        if name == "value" and isinstance(owner.get("name"), str) and not isinstance(value, Mapping | list):
            return self._variable(owner["name"], value)
        if name in _KEYS and "spec" not in path:  # in a spec these name columns, or entries of a Secret
            return self._row_key(value)
        if looks_secret(name) and isinstance(value, str | int | float | list) and not isinstance(value, bool):
            return self._hide(value, certain=True)
        return self._walk(value, (*path, name))

    def _annotation(self, name: str, value: Any) -> Any:
        if name.startswith(SHOWN_ANNOTATIONS) and not looks_secret(name.partition("/")[2]):
            return self._document(value, ())
        if name == "kubectl.kubernetes.io/last-applied-configuration" and isinstance(value, str):
            with contextlib.suppress(ValueError, RecursionError):
                self._walk(json.loads(value), ())  # its literals are secrets too
            return MASK
        return self._hide(value, certain=False)

    def _variable(self, name: str, value: Any) -> Any:
        """A variable of a container, a header of a probe: anything with a name and a value."""
        return (
            self._document(value, ("spec",))
            if name in SHOWN_VARIABLES
            else self._hide(value, certain=looks_secret(name))
        )

    def _document(self, value: Any, path: tuple[str, ...]) -> Any:
        """A text that may be JSON, as the plan of a worker is."""
        if isinstance(value, str) and value.startswith("{"):
            try:
                return json.dumps(self._walk(json.loads(value), path), ensure_ascii=False)
            except (ValueError, RecursionError):
                pass
        return self._walk(value, ())

    def _words(self, words: list[Any]) -> Any:
        if words and words[0] in OUR_PROGRAMS:
            return self._walk(words, ())
        for each in words:
            self._hide(each, certain=False)
        return [MASK for _ in words]

    def _row_key(self, value: Any) -> Any:
        if self.with_keys:
            return self._walk(value, ())
        for text in _texts(value):
            for part in {text, *_parts_of_key(text)}:
                if len(part) >= SHORTEST_KEY and part != MASK:
                    self._row_keys.setdefault(part)
        return [MASK for _ in value] if isinstance(value, list | tuple) else MASK

    def _hide(self, value: Any, *, certain: bool) -> Any:
        """The mask in place of a value. ``certain``: its name says that it is secret; else it must look random to be looked for elsewhere."""
        for text in _texts(value):
            for part in (text, *text.splitlines()):
                part = part.strip()
                usual = part in self._names or part == MASK
                if len(part) >= SHORTEST and not usual and (certain or _looks_random(part)):
                    self._values.setdefault(part)
                    self.hidden += 1
        if isinstance(value, Mapping):
            return {self.text(str(name)): MASK for name in value}
        return [MASK for _ in value] if isinstance(value, list | tuple) else MASK


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in _texts(each)]
    return [str(value)] if isinstance(value, str | int | float) and not isinstance(value, bool) else []


def _looks_random(text: str) -> bool:
    """Whether it is unlike a word: long, or of letters and digits."""
    kinds = (any(map(str.isalpha, text)), any(map(str.isdigit, text)))
    return (
        len(text) >= 12
        or (len(text) >= 8 and all(kinds))
        or any(not (each.isalnum() or each in "-_./:, ") for each in text)
    )


def _parts_of_key(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return _texts(found) if isinstance(found, list) else []
