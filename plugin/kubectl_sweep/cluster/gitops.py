"""Whether a GitOps tool will put a field of the spec back, from the owners of fields that the API server keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep_console.documents import items, mapping, text

__all__ = ["owner_of_spec_field"]

# Parts of the names under which these tools write, and what people call them.
TOOLS = {
    "argocd": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "flux": "Flux",
    "rancher-fleet": "Fleet",
    "fleetagent": "Fleet",
}


def owner_of_spec_field(found: Mapping[str, Any], field: str) -> str:
    """The GitOps tool that sets ``spec.FIELD`` of the object; empty where none does."""
    for entry in map(mapping, items(mapping(found.get("metadata")).get("managedFields"))):
        manager = text(entry.get("manager")).lower()
        fields = mapping(mapping(entry.get("fieldsV1")).get("f:spec"))
        if f"f:{field}" in fields:
            for part, tool in TOOLS.items():
                if part in manager:
                    return tool
    return ""
