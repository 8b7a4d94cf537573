"""The parts of a report before redaction, and the archive after it. Pure."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kubectl_sweep.report.redaction import Redactor

__all__ = ["MANIFEST", "Contents", "archive"]

MANIFEST = "README.txt"
LONGEST = 2 * 1024 * 1024  # characters of one log


@dataclass
class Contents:
    """``objects``, ``logs`` and ``texts`` by their path in the archive. ``missing``: what could not be read, and why."""

    objects: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    missing: list[tuple[str, str]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return sorted([*self.objects, *self.logs, *self.texts])


def archive(contents: Contents, redactor: Redactor, title: str) -> tuple[bytes, str]:
    """The zip, and its manifest as text. Every text in it has passed the redactor."""
    for each in contents.objects.values():
        redactor.learn(each)
    files = {
        path: json.dumps(redactor.object(value), ensure_ascii=False, indent=1)
        for path, value in contents.objects.items()
    }
    files |= {path: redactor.log(text[-LONGEST:]) for path, text in contents.logs.items()}
    files |= {path: redactor.text(text) for path, text in contents.texts.items()}
    named = {_safe(redactor.text(path)): text for path, text in sorted(files.items())}
    manifest = redactor.text(_manifest(title, named, contents.missing, redactor))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        for path, text in {MANIFEST: manifest, **named}.items():
            opened.writestr(path, text)
    return packed.getvalue(), manifest


def _manifest(title: str, files: dict[str, str], missing: Iterable[tuple[str, str]], redactor: Redactor) -> str:
    lines = [title, "", "It has:"]
    lines += [f"  {path}  ({len(text.encode()):,} bytes)" for path, text in files.items()]
    problems = [f"  {what}: {why.splitlines()[0] if why else 'no reason'}" for what, why in missing]
    lines += ["", "It could not read:", *problems] if problems else []
    keys = (
        "It has keys of rows (--with-keys)."
        if redactor.with_keys
        else "Keys of rows were removed, as far as they are known (--with-keys keeps them)."
    )
    lines += [
        "",
        f"{redactor.hidden} values were replaced by *** because of their place, and removed from all other files: variables of containers,",
        "arguments, annotations, headers, and what was last applied. Passwords in URLs, paths of web addresses, tokens and what follows",
        "a word such as password were removed by their shape. No Secret was read.",
        keys,
        "Messages of databases, receivers and handlers are in it. A secret or a personal datum that one of them prints in a sentence",
        "cannot be found: read the logs before you send them.",
    ]
    return "\n".join(lines) + "\n"


def _safe(path: str) -> str:
    """A relative path with ordinary characters."""
    parts = (re.sub(r"[^A-Za-z0-9._-]", "_", part).lstrip(".") or "_" for part in path.split("/"))
    return "/".join(parts)
