"""The manifests that are generated from the models."""

from __future__ import annotations

from typing import Any

import yaml

from kubesweep.api.crd import custom_resource_definition

HEAD = "# Made by `make generate` from core/kubesweep/api: change it there.\n"


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def crd() -> str:
    """The CustomResourceDefinition."""
    text = yaml.dump(custom_resource_definition(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    if "{{" in text:
        raise ValueError("the CRD holds {{, which Helm would read as a template")
    return HEAD + text
