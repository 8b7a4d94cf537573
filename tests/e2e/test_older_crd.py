"""A CRD of an earlier version, which drops fields that this version has.

It lacks fields whose loss could widen a sweep (operators of a match, the write) and fields with a default. It has an API group of its own, so no
other test is affected.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kubesweep import SpecErrors, load_object
from kubesweep.api.crd import custom_resource_definition
from kubesweep.api.models import cel
from tests.kits.kubectl import apply, kubectl, kubectl_output, namespace_with_crd, read, schedule, until_established

GROUP = "older.kubesweep.dev"
LACKS = (
    "match[].before",
    "match[].isNull",
    "match[].sql",
    "write.delete",
    "effect.handler",
    "retry",
    "deadLetters",
    "timeZone",
    "source.lockTimeout",
    "source.naiveTimeZone",
    "worker.cooldown",
)


def older() -> dict[str, Any]:
    definition = copy.deepcopy(custom_resource_definition())
    definition["metadata"]["name"] = f"sweepschedules.{GROUP}"
    definition["spec"] |= {"group": GROUP, "names": {"kind": "SweepSchedule", "plural": "sweepschedules"}}
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    without_rules(spec)
    for path in LACKS:
        *above, last = path.split(".")
        at = spec
        for step in above:
            at = at["properties"][step.removesuffix("[]")]
            at = at["items"] if step.endswith("[]") else at
        del at["properties"][last]
        at.get("default", {}).pop(last, None)
    return definition


def without_rules(schema: dict[str, Any]) -> None:
    """Remove all rules: the worst case of an earlier version's other rules."""
    schema.pop(cel.RULES, None)
    for inner in (*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])):
        without_rules(inner)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with namespace_with_crd() as name:
        apply(older(), "--server-side")
        until_established(f"sweepschedules.{GROUP}")
        yield name
        kubectl_output("delete", "crd", f"sweepschedules.{GROUP}")


def of_older(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"apiVersion": f"{GROUP}/v1alpha1"}


def live(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """The object as this version's controller reads it, with the fields that the API server kept."""
    apply(of_older(schedule(name, namespace, **spec)), "--validate=ignore")
    body = read(f"sweepschedules.{GROUP}/{name}", namespace)
    return body | {"apiVersion": "kubesweep.dev/v1alpha1"}


@pytest.mark.parametrize(
    ("name", "spec", "text"),
    [
        (
            "before",
            {},
            "spec.match[1]: needs exactly one of in, notIn, before, after, lessThan, greaterThan, isNull; none is given",
        ),
        (
            "isnull",
            {"match": [{"column": "a", "isNull": True}]},
            "spec.match[0]: needs exactly one of in, notIn, before, after, lessThan, greaterThan, isNull; none is given",
        ),
        (
            "sql",
            {"match": [{"sql": "t.a = 1"}]},
            "spec.match[0]: needs exactly one of in, notIn, before, after, lessThan, greaterThan, isNull, sql; none is given",
        ),
        (
            "delete",
            {"match": [{"column": "a", "in": ["b"]}]},
            "spec.write: needs exactly one of update, delete; none is given",
        ),
        (
            "handler",
            {
                "match": [{"column": "a", "in": ["b"]}],
                "write": {"update": [{"column": "a", "value": "c"}]},
                "effect": {"handler": "a.b:c"},
            },
            "spec.effect: needs exactly one of webhook, handler; none is given",
        ),
    ],
)
def test_a_dropped_field_never_widens_a_sweep(namespace: str, name: str, spec: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        load_object(live(namespace, name, **spec))
    assert text in str(caught.value).splitlines()


def test_a_dropped_field_gets_the_models_default(namespace: str) -> None:
    spec = {"match": [{"column": "a", "in": ["b"]}], "write": {"update": [{"column": "a", "value": "c"}]}}
    body = live(namespace, "defaults", **spec)
    assert not {"retry", "deadLetters", "timeZone"} & body["spec"].keys()
    assert load_object(body) == load_object(schedule("defaults", namespace, **spec) | {"metadata": body["metadata"]})


@pytest.mark.parametrize("words", [(), ("--server-side",)], ids=("client", "server"))
def test_kubectl_names_the_unknown_field(namespace: str, words: tuple[str, ...]) -> None:
    document = of_older(schedule("strict", namespace))
    refused = kubectl("apply", *words, "-f", "-", stdin=yaml.safe_dump(document))
    assert "spec.match[1].before" in refused.stderr
