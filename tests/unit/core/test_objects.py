"""SweepSchedules that come from the API server, with all that it adds."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from kubesweep import SpecErrors, compile_plan, load_object
from kubesweep.api.loading.objects import APPLIED
from kubesweep.api.problems import MOST

SPEC: dict[str, Any] = {
    "schedule": "*/5 * * * *",
    "source": {"table": "carts", "urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}},
    "match": [{"column": "status", "in": ["open"]}, {"column": "updated_at", "before": "now-24h"}],
    "write": {"update": [{"column": "status", "value": "abandoned"}]},
}
BODY: dict[str, Any] = {
    "apiVersion": "kubesweep.dev/v1alpha1",
    "kind": "SweepSchedule",
    "metadata": {
        "name": "carts",
        "generateName": "carts-",
        "namespace": "shop",
        "uid": "dc2740bc-b94e-4fdd-8e67-2c5bd0f3a260",
        "generation": 7,
        "resourceVersion": "230",
        "creationTimestamp": "2026-03-01T00:00:00Z",
        "annotations": {f"example.com/{number}": "x" * 2000 for number in range(300)},
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        "somethingNew": {"one": "day"},
    },
    "spec": SPEC,
    "status": {"observedGeneration": -1, "conditions": [{"type": "Ready"}]},
}


def changed(**spec: Any) -> dict[str, Any]:
    return {**BODY, "spec": {**SPEC, **spec}}


def applied(spec: Mapping[str, Any], live: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The object after ``kubectl apply --validate=false``: what the API server did not know is in the annotation only."""
    written = {"apiVersion": BODY["apiVersion"], "kind": BODY["kind"], "metadata": {"name": "carts"}, "spec": spec}
    meta = {**BODY["metadata"], "annotations": {APPLIED: json.dumps({**written, **more})}}
    return {**BODY, "metadata": meta, "spec": SPEC if live is None else live}


def problems(body: Mapping[str, Any]) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        load_object(body)
    return str(caught.value).splitlines()


def test_what_kubernetes_keeps_about_an_object_is_not_looked_at() -> None:
    before = copy.deepcopy(BODY)
    schedule = load_object(BODY)
    assert (schedule.metadata.name, schedule.metadata.namespace, schedule.metadata.generation) == ("carts", "shop", 7)
    plan = compile_plan(schedule, install="1234abcd")
    assert (plan.uid, plan.version.generation) == ("dc2740bc-b94e-4fdd-8e67-2c5bd0f3a260", 7)
    assert before == BODY


def test_an_item_of_a_list_has_no_kind_and_is_read_all_the_same() -> None:
    item = {name: each for name, each in BODY.items() if name not in ("apiVersion", "kind")}
    assert load_object(item) == load_object(BODY)


def test_a_mapping_that_cannot_be_changed_is_read_too() -> None:
    assert load_object(MappingProxyType({**BODY, "spec": MappingProxyType(SPEC)})) == load_object(BODY)


def test_every_problem_has_a_line_with_the_path_of_its_field_and_no_file() -> None:
    assert problems(changed(schedule="61 * * * *", mode="dryrun", retry={"backoff": "2"})) == [
        'spec.schedule: cron "61 * * * *": bad minute; the fields are: minute hour day-of-month month day-of-week, such as "*/5 * * * *"',
        'spec.mode: not one of the allowed values; given: "dryrun"; did you mean "DryRun"? allowed: Enforce, DryRun',
        'spec.retry.backoff: "2" has no unit: write a whole number with a unit (ms, s, m, h, d), such as "30s", "5m" or "1h30m"',
    ]


def test_a_field_of_a_newer_schema_is_refused_by_an_older_program() -> None:
    assert problems(changed(window="22:00-06:00"))[0].startswith("spec.window: unknown field")


def test_an_object_without_a_spec_is_refused() -> None:
    assert problems({"metadata": {"name": "carts"}}) == [
        "spec: required, and missing. When to sweep, which rows, and what happens to them."
    ]


def test_an_operator_that_the_api_server_dropped_is_refused() -> None:
    assert problems(changed(match=[{"column": "updated_at"}])) == [
        "spec.match[0]: needs exactly one of in, notIn, before, after, lessThan, greaterThan, isNull; none is given"
    ]


def test_a_limit_that_was_applied_under_a_wrong_name_is_refused_although_the_object_shows_nothing_of_it() -> None:
    reported = problems(applied({**SPEC, "limits": {"rowPerSecond": 5}}))
    assert reported == [
        "spec.limits.rowPerSecond: unknown field, which the API server dropped (applied with --validate=ignore); "
        'did you mean "rowsPerSecond"? allowed: batchRows, batchTime, rowsPerSecond, maxRowsPerSweep, approveAbove'
    ]


def test_a_limit_that_was_applied_without_a_value_is_refused_although_the_object_shows_nothing_of_it() -> None:
    assert problems(applied({**SPEC, "limits": {"approveAbove": None}})) == [
        "spec.limits.approveAbove: has no value: give one ({} for an empty map) or remove the line"
    ]


def test_what_was_applied_correctly_and_edited_since_is_read_as_it_is_now() -> None:
    assert load_object(applied({**SPEC, "schedule": "nonsense", "mode": "DryRun"})) == load_object(BODY)


@pytest.mark.parametrize(
    "copy",
    [
        "",
        "not JSON",
        "[]",
        '{"apiVersion": "kubesweep.dev/v2", "spec": {"mod": 1}}',
        '{"metadata": {"lables": {}}}',
        "5",
    ],
)
def test_a_copy_that_says_nothing_about_the_spec_is_left_alone(copy: str) -> None:
    assert load_object({**BODY, "metadata": {**BODY["metadata"], "annotations": {APPLIED: copy}}}) == load_object(BODY)


def test_a_typo_is_reported_once_where_the_object_shows_it_too() -> None:
    assert len(problems(applied(changed(mod="DryRun")["spec"], changed(mod="DryRun")["spec"]))) == 1


def test_many_problems_are_reported_up_to_a_limit() -> None:
    with pytest.raises(SpecErrors) as refused:
        load_object(changed(**{f"x{number}": 1 for number in range(5_000)}))
    assert len(refused.value.problems) == MOST
    assert str(refused.value).endswith("There are more problems: fix these first.")
