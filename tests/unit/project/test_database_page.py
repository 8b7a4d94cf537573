"""docs/database.md and examples/database: their specs are valid, in a file and in a pod."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from kubesweep import load, load_object
from kubesweep.api.compile import compile_plan
from kubesweep.api.database_url import KEYS, PARAMETERS
from kubesweep.api.models.spec import Spec
from kubesweep_controller.children.pod_settings import PodSettings
from kubesweep_controller.children.workloads import build_deployment
from tests.unit.controller.test_database import whole

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/database.md").read_text()
SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = sorted((ROOT / "examples/database").glob("*.yaml"))
REST = {"every": "1h", "match": [{"column": "status", "in": ["done"]}], "write": {"delete": {}}}
META = {"name": "carts", "namespace": "shop", "uid": "8b5f6f0e-0000-4000-8000-000000000001", "generation": 1}
ENTRIES = {**dict.fromkeys(KEYS.values(), "db"), "port": "5432", "ca.crt": "-----BEGIN"}


def test_the_page_has_its_snippets_and_the_folder_its_examples() -> None:
    assert len(SNIPPETS) == 6
    assert [each.stem for each in EXAMPLES] == ["cloudnative-pg", "rds-iam", "zalando"]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_each_snippet_is_a_part_of_a_spec(snippet: str) -> None:
    Spec.model_validate({**REST, **yaml.safe_load(snippet)})


@pytest.mark.parametrize(
    "spec",
    [
        *({**REST, **yaml.safe_load(each)} for each in SNIPPETS),
        *(yaml.safe_load(each.read_text())["spec"] for each in EXAMPLES),
    ],
)
def test_each_snippet_and_example_makes_a_valid_pod(spec: dict[str, object]) -> None:
    schedule = load_object(
        {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": META, "spec": spec}
    )
    made = build_deployment(
        META, schedule, compile_plan(schedule, install="abcd1234"), "redis://r", PodSettings("worker:1")
    )
    whole(made["spec"]["template"]["spec"])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.stem)
def test_each_example_loads_with_the_secrets_that_it_names(example: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(example.read_text())
    names = re.findall(r"(?:secretRef|secretKeyRef): \{name: ([-.\w]+)", example.read_text())
    assert names
    head = {"apiVersion": "v1", "kind": "Secret"}
    secrets = [{**head, "metadata": {"name": name, "namespace": "shop"}, "stringData": ENTRIES} for name in names]
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump_all([document, *secrets]))
    assert [each.name for each in load([file])] == ["close-abandoned-carts"]


def test_the_page_names_each_parameter_and_each_key() -> None:
    assert [name for name in (*PARAMETERS, *KEYS.values()) if f"`{name}`" not in PAGE] == []
