"""docs/tables.md: its snippets are valid and its codes exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from kubesweep.api.models.spec import Spec

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "tables.md").read_text()
SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
WHOLE = {
    "every": "1h",
    "source": {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, "table": "things"},
    "match": [{"column": "status", "in": ["done"]}],
    "write": {"delete": {}},
    "limits": {},
}


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_each_snippet_is_a_part_of_a_spec(snippet: str) -> None:
    part = yaml.safe_load(snippet)
    assert part.keys() <= WHOLE.keys()
    Spec.model_validate({**WHOLE, **part})


def test_each_code_is_documented() -> None:
    known = set(re.findall(r"\| `([\w-]+)` \|", (DOCS / "errors.md").read_text()))
    fields = {"foreign-key", "task_instance"}
    codes = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+|[a-z]+(?:-[a-z]+)+)`", PAGE)) - fields
    assert len(codes) > 20
    assert codes <= known
