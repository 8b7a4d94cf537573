"""The YAML file of a proposal, with a comment for each reason. Pure. What it writes, the loader reads back as the same values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from kubesweep.api.models.spec import API_VERSION, KIND
from kubesweep.text import clip
from kubesweep_cli.init.proposal import Field, Proposal

__all__ = ["file_text"]

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*|([0-9]+(ms|[smhd]))+", re.ASCII)
_WORDS_OF_YAML = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null"})
_MOST_COMMENT = 300
_ENFORCE = Field("Enforce", "or DryRun, which counts the rows and changes nothing")
_DRY_RUN = Field("DryRun", "counts the rows and changes nothing; write Enforce to sweep")


def file_text(proposal: Proposal, *, dry_run: bool = False, approve: Field | None = None) -> str:
    return "".join(f"{line}\n" for line in _lines(proposal, dry_run, approve))


def _lines(proposal: Proposal, dry_run: bool, approve: Field | None) -> Iterator[str]:
    secret = f"{proposal.name}-db"
    yield f"# Made by `kubesweep init` from {_comment(proposal.about)}."
    yield from (
        f"apiVersion: {API_VERSION}",
        f"kind: {KIND}",
        "metadata:",
        f"  name: {_scalar(proposal.name)}",
        "spec:",
    )
    name, timing = proposal.timing
    yield _field(f"  {name}", timing)
    yield _field("  mode", _DRY_RUN if dry_run else _ENFORCE)
    yield "  source:"
    yield _field("    urlFrom", Field({"secretKeyRef": {"name": secret, "key": "url"}}))
    yield from (_field(f"    {key}", field) for key, field in proposal.source.items())
    yield "  match: # a row is stale if it meets all of these"
    yield from (_field("    -", field, colon="") for field in proposal.match)
    for key, part in (("effect", proposal.effect), ("write", proposal.write)):
        if part is not None:
            yield f"  {key}:"
            yield from (_field(f"    {inner}", Field(value, part.why)) for inner, value in part.value.items())
    if approve is not None:
        yield "  limits:"
        yield _field("    approveAbove", Field({"rows": approve.value}, approve.why))
    yield from ("---", "apiVersion: v1", "kind: Secret", "metadata:", f"  name: {_scalar(secret)}", "stringData:")
    yield _field("  url", proposal.url)


def _field(key: str, field: Field, colon: str = ":") -> str:
    comment = f" # {_comment(field.why)}" if field.why else ""
    return f"{key}{colon} {_flow(field.value)}{comment}"


def _comment(text: str) -> str:
    """One line, whatever names it has."""
    return re.sub("[\ufeff\ufffe\uffff]", "?", clip(" ".join(text.split()), _MOST_COMMENT))


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_flow(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _scalar(str(value))


def _scalar(text: str) -> str:
    """Without quotes only where no YAML parser reads anything but this text."""
    if _WORD.fullmatch(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**9)
    return quoted.removesuffix("\n")
