"""Compares the CRD of a cluster with the one of this version. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubesweep.api.crd import VERSION, object_schema

__all__ = ["missing_fields"]


def missing_fields(crd: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths such as ``status.answers`` that this version has and the CRD has not. The API server drops them without notice."""
    versions = crd["spec"]["versions"]
    served = next((each for each in versions if each["name"] == VERSION), None)
    if served is None:
        return (VERSION,)
    there = served["schema"]["openAPIV3Schema"]
    here = object_schema()
    found: list[str] = []
    for part in ("spec", "status"):
        found += _missing(here["properties"][part], there.get("properties", {}).get(part, {}), part)
    return tuple(found)


def _missing(here: Mapping[str, Any], there: Mapping[str, Any], path: str) -> Iterator[str]:
    if there.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, field in (here.get("properties") or {}).items():
        known = (there.get("properties") or {}).get(name)
        if known is None:
            yield f"{path}.{name}"
        else:
            yield from _missing(field, known, f"{path}.{name}")
    if "items" in here:
        yield from _missing(here["items"], there.get("items") or {}, f"{path}[]")
