"""What the console of a cluster may show of a SweepSchedule."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.api.models.spec import Spec
from kubesweep_console.cluster_documents import SHOWN, document_of, error_groups
from tests.kits.controller import SPEC

META = {"namespace": "shop", "name": "carts", "uid": "u1", "annotations": {"note": "hunter2"}, "managedFields": []}


def body(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": META, "spec": SPEC, **fields}


def test_a_document_has_names_spec_and_status() -> None:
    status = {"lastSweep": {"id": "1", "state": "Running"}}
    assert document_of(body(status=status)) == {
        "metadata": {"namespace": "shop", "name": "carts", "uid": "u1"},
        "spec": SPEC,
        "status": status,
    }


def test_a_webhook_is_shown_by_its_host_alone() -> None:
    hook = {
        "url": "https://user:hunter2@example.com:8443/hunter2?token=hunter2",
        "batchRows": 20,
        "headersFrom": [{"name": "X", "secretKeyRef": {"name": "hunter2", "key": "k"}}],
        "signWith": [{"secretKeyRef": {"name": "hunter2", "key": "k"}}],
    }
    shown = document_of(body(spec=SPEC | {"effect": {"webhook": hook}}))
    assert shown["spec"]["effect"] == {"webhook": {"url": "https://example.com", "batchRows": 20}}
    assert "hunter2" not in json.dumps(shown)


def test_nothing_of_the_pods_is_shown() -> None:
    pods = {"worker": {"env": [{"name": "A", "value": "hunter2"}]}, "tick": {"podTemplate": {"x": "hunter2"}}}
    assert "hunter2" not in json.dumps(document_of(body(spec=SPEC | pods | {"later": "hunter2"})))


def test_every_field_of_a_spec_is_shown_or_left_out_on_purpose() -> None:
    fields = {str(field.alias or name) for name, field in Spec.model_fields.items()}
    assert fields - {*SHOWN, "effect"} == {"worker", "tick"}


def test_dead_letters_are_those_of_the_status() -> None:
    entry = {
        "error": "CheckViolation",
        "count": 7,
        "message": "refused",
        "firstTime": "2027-01-15T08:00:00Z",
        "lastTime": "2027-01-15T09:00:00Z",
        "sampleKeys": ['["eu","17"]'],
    }
    (group,) = error_groups(document_of(body(status={"errors": [entry]})))
    assert (group.error, group.count, group.message, group.samples) == (
        "CheckViolation",
        7,
        "refused",
        (("eu", "17"),),
    )
    assert group.last - group.first == 3600


@pytest.mark.parametrize("field", ["metadata", "spec", "status"])
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3))
def test_a_body_of_any_shape_has_a_document(field: str, value: Any) -> None:
    for inner in (value, {"effect": value}, {"effect": {"webhook": value}}, {"errors": value}, {"errors": [value]}):
        error_groups(document_of(body(**{field: inner})))


@given(url=st.text())
def test_any_url_has_an_origin(url: str) -> None:
    assert "/" not in document_of(body(spec={"effect": {"webhook": {"url": f"https://a.example/{url}"}}}))["spec"][
        "effect"
    ]["webhook"]["url"].removeprefix("https://")
