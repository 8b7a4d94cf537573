"""The CustomResourceDefinition: what the API server asks of one, and what people expect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from kubesweep.api.crd import custom_resource_definition, object_schema, structural
from kubesweep.api.models import cel
from kubesweep.api.models.spec import Spec, SweepSchedule
from kubesweep.api.models.status import Status
from kubesweep.api.models.types import Model
from tools import generate

Schema = dict[str, Any]
HOUSE = Path(__file__).parents[3]


def fields(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from fields(f"{path}.{name}", inner)
    if "items" in schema:
        yield from fields(f"{path}[]", schema["items"])


SPEC = list(fields("spec", object_schema()["properties"]["spec"]))
STATUS = list(fields("status", object_schema()["properties"]["status"]))


def of_models(path: str, model: type[BaseModel]) -> Iterator[str]:
    for field in model.model_fields.values():
        inner = f"{path}.{field.alias}" + ("[]" if "list[" in str(field.annotation) else "")
        yield inner.removesuffix("[]")
        for each in models_in(field.annotation):
            yield from of_models(inner, each)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def test_every_field_of_the_models_is_there_and_no_other() -> None:
    found = {path.removesuffix("[]") for path, _ in (*SPEC, *STATUS)}
    assert found == {"spec", "status", *of_models("spec", Spec), *of_models("status", Status)}
    assert len(found) > 100


@pytest.mark.parametrize(("path", "schema"), SPEC + STATUS, ids=lambda each: each if isinstance(each, str) else "")
def test_each_field_is_typed_described_and_bounded(path: str, schema: Schema) -> None:
    kind = schema.get("type") or ("string" if schema["x-kubernetes-int-or-string"] else "")
    assert kind in ("object", "array", "string", "integer", "boolean")
    assert path.endswith("[]") or len(schema["description"]) > 5, "says nothing"
    assert not {"anyOf", "allOf", "oneOf", "$ref", "title"} & schema.keys()
    if kind == "array":
        assert 0 < schema["maxItems"] <= 128
        assert schema["x-kubernetes-list-type"] in ("atomic", "map")
    if kind == "string":
        assert schema.get("maxLength", 0) > 0 or "enum" in schema
    if kind == "integer" and path.startswith("spec"):
        assert schema["minimum"] < schema["maximum"]
    if kind == "object":
        free = schema.get("x-kubernetes-preserve-unknown-fields")
        assert schema.get("properties") or free or schema["additionalProperties"]["maxLength"]


def test_the_defaults_of_the_schema_are_those_of_the_models() -> None:
    least = {
        "apiVersion": "kubesweep.dev/v1alpha1",
        "kind": "SweepSchedule",
        "metadata": {"name": "a"},
        "spec": {
            "every": "5s",
            "source": {"table": "t", "urlFrom": {"secretKeyRef": {"name": "s", "key": "url"}}},
            "match": [{"sql": "true"}],
            "write": {"delete": {}},
            "effect": {"webhook": {"url": "https://example.com"}},
        },
    }
    filled = filled_in(object_schema()["properties"]["spec"], least["spec"])
    assert filled["retry"] == {"maxAttempts": 5, "backoff": "2s", "maxBackoff": "5m"}
    assert filled["effect"]["webhook"]["timeout"] == "10s"
    assert SweepSchedule.model_validate({**least, "spec": filled}) == SweepSchedule.model_validate(least)


def filled_in(schema: Schema, value: Any) -> Any:
    """What the API server does with defaults."""
    if isinstance(value, list):
        return [filled_in(schema["items"], each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: each["default"] for name, each in schema.get("properties", {}).items() if "default" in each} | value
    return {name: filled_in(schema["properties"][name], each) for name, each in made.items()}


def test_only_the_generation_has_a_default_in_the_status() -> None:
    assert [path for path, schema in STATUS if "default" in schema] == ["status", "status.observedGeneration"]
    assert object_schema()["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_no_rule_shows_the_value_of_an_address_or_of_a_whole_map() -> None:
    shown = [
        path
        for path, schema in SPEC
        for rule in schema.get(cel.RULES, ())
        if "reason" not in rule and (schema["type"] != "string" or path.endswith(".url"))
    ]
    assert shown == []


def test_the_files_in_the_repository_are_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out
    manifest = (HOUSE / "manifests" / "crd.yaml").read_text()
    assert yaml.safe_load(manifest) == custom_resource_definition()
    assert (HOUSE / "charts/kubesweep/files/crd.yaml").read_text() == manifest


def test_a_file_that_was_edited_fails_the_check_and_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "FILES", {"a.txt": lambda: "as it is\n"})
    (tmp_path / "a.txt").write_text("as it was\n")
    assert generate.main(["--check"]) == 1
    assert "-as it was" in (reported := capsys.readouterr().out)
    assert "a.txt is out of date: run make generate" in reported
    assert (tmp_path / "a.txt").read_text() == "as it was\n"
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_a_field_that_may_be_two_things_has_no_structural_schema() -> None:
    class Either(Model):
        either: int | str

    with pytest.raises(ValueError, match="structural"):
        structural(Either.model_json_schema())
