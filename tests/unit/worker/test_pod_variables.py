"""The values of a pod's variables arrive unchanged, although Kubernetes expands dollars in them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from kubesweep import load_object
from kubesweep.api.compile import compile_plan
from kubesweep.api.plan import Plan
from kubesweep_controller.children.pod_settings import PodSettings
from kubesweep_controller.children.workloads import build_cronjob, build_deployment
from tests.unit.controller.test_children import META, SPEC

AMOUNTS = "note = $$x$$ and price like '$(KUBERNETES_SERVICE_HOST)%' and tag ~ 'a$'"


def expanded(value: str) -> str:
    """As a kubelet does, with a variable of each name: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/"""
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else "10.96.0.1", value)


def variables(source: Any) -> list[dict[str, str]]:
    """Of the worker and of the producer, as their processes see them."""
    spec = SPEC | {"match": [*SPEC["match"], {"sql": AMOUNTS}], "source": source}
    body = {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": META, "spec": spec}
    schedule = load_object(body)
    plan, pods = compile_plan(schedule, install="abcd1234"), PodSettings("worker:1")
    made = [
        build_deployment(META, schedule, plan, "redis://r", pods)["spec"],
        build_cronjob(META, schedule, plan, "redis://r", pods, None)["spec"]["jobTemplate"]["spec"],
    ]
    containers = [each["template"]["spec"]["containers"][0] for each in made]
    return [{one["name"]: expanded(one["value"]) for one in each["env"] if "value" in one} for each in containers]


@pytest.mark.parametrize(
    "source",
    [
        SPEC["source"],
        {"table": "carts", "connection": {"host": "db", "database": "a$$b$(HOME)", "secretRef": {"name": "shop-db"}}},
    ],
)
def test_a_dollar_reaches_the_worker_and_the_producer(source: Any) -> None:
    worker, producer = variables(source)
    for each in (worker, producer):
        assert AMOUNTS in {match.sql for match in Plan.from_json(each["KUBESWEEP_PLAN"]).match}
    if "connection" in source:
        assert "a$$b$(HOME)" in str(json.loads(worker["KUBESWEEP_DATABASE_CONNECTION"]))
