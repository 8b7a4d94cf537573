"""worker.defaults: the values reach the controller unchanged, and an invalid one is rejected with its path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubesweep_controller.children.pod_defaults import PodDefaults, read_defaults
from kubesweep_controller.settings import from_environment
from tests.chart.rendering import Refused, environment, render

GIVEN: dict[str, Any] = {
    "resources": {"limits": {"cpu": 2, "memory": "256Mi"}},
    "env": [{"name": "A", "value": '$(POD_NAME) $$ "quoted" <&> \u00e9'}],
    "podTemplate": {
        "metadata": {"labels": {"team": "data"}, "annotations": {"example.com/json": '{"a": "$(B)"}'}},
        "spec": {
            "nodeSelector": {"pool": "batch"},
            "tolerations": [{"key": "batch", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3600}],
            "securityContext": {"runAsUser": 1000650000},
            "futureField": {"a": 1},
        },
    },
    "tick": {"resources": {"limits": {"cpu": "200m"}}, "podTemplate": {"spec": {"priorityClassName": "low"}}},
}


def rendered_environment(values: Any) -> dict[str, str]:
    return environment(render(json=f"worker={json.dumps({'defaults': values})}"))


def test_the_controller_gets_the_defaults_unchanged() -> None:
    env = rendered_environment(GIVEN)
    # Kubernetes expands $(NAME) and $$ in an environment variable.
    assert "$" not in env["KUBESWEEP_WORKER_DEFAULTS"]
    pods = from_environment(env | {"POD_NAMESPACE": "a", "POD_NAME": "b"}).pods
    assert pods.defaults == read_defaults(GIVEN)
    assert pods.defaults.env == GIVEN["env"]


def test_there_are_no_defaults_without_values() -> None:
    env = environment(render())
    made = from_environment(env | {"POD_NAMESPACE": "a", "POD_NAME": "b"}).pods.defaults
    assert not made.pod_template
    assert made.resources in (None, PodDefaults.model_validate({"resources": {}}).resources)


def test_an_edit_of_the_defaults_restarts_the_controller() -> None:
    """The controller reads them when it starts, and then updates every Deployment and CronJob."""
    assert rendered_environment(GIVEN) != rendered_environment({**GIVEN, "env": []})


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"podtemplate": {}}, "/worker/defaults"),
        ({"resources": {"limits": {"memory": "512MB"}}}, "/worker/defaults/resources/limits/memory"),
        ({"env": {"A": "b"}}, "/worker/defaults/env"),
        ({"env": [{"name": "A", "value": 1}]}, "/worker/defaults/env/0/value"),
        ({"podTemplate": {"labels": {}}}, "/worker/defaults/podTemplate"),
        ({"podTemplate": {"metadata": {"labels": {"a": True}}}}, "/worker/defaults/podTemplate/metadata/labels/a"),
        ({"podTemplate": {"spec": {"nodeSelector": {"a": 1}}}}, "/worker/defaults/podTemplate/spec/nodeSelector/a"),
        (
            {"podTemplate": {"spec": {"tolerations": [{"operator": "Equals"}]}}},
            "/worker/defaults/podTemplate/spec/tolerations/0/operator",
        ),
        ({"tick": {"podTemplate": {"spec": []}}}, "/worker/defaults/tick/podTemplate/spec"),
        ({"tick": {"env": []}}, "/worker/defaults/tick"),
    ],
)
def test_an_invalid_default_is_rejected_with_its_path(values: Any, path: str) -> None:
    with pytest.raises(Refused) as refused:
        rendered_environment(values)
    assert f"at '{path}'" in str(refused.value)
