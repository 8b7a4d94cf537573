"""The hash of a plan changes only with the rows that match and with what happens to them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml

from kubesweep import Plan, SweepSchedule, compile_plan
from kubesweep.api import plan as plans
from tests.unit.core.full_spec import FULL, compiled


def test_a_plan_survives_its_own_json() -> None:
    plan = compiled()
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.version == plan.version


class LaterPlan(Plan, frozen=True, kw_only=True):
    later: int = 1


def test_a_field_that_a_later_version_adds_changes_no_plan_that_does_not_use_it() -> None:
    plan = compiled()
    same = LaterPlan(**{name: getattr(plan, name) for name in plan.__struct_fields__})
    assert (same.to_json(), same.version) == (plan.to_json(), plan.version)
    other = msgspec.structs.replace(same, later=2)
    assert not other.version.same(plan.version)
    with pytest.raises(msgspec.ValidationError, match="unknown field `later`"):
        Plan.from_json(other.to_json())


def edit(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        at: Any = document
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (edit("metadata", "generation", value=9), True),
        (edit("metadata", "labels", value={}), True),
        (edit("spec", "schedule", value="0 * * * *"), True),
        (edit("spec", "worker", "image", value="registry/app:2"), True),
        (edit("spec", "retry", "backoff", value="3000ms"), True),
        (edit("spec", "match", 0, "in", value=["pending"]), False),
        (edit("spec", "match", 0, "in", value=["progress", "pending"]), True),
        (edit("spec", "match", 0, "in", value=["pending", "progress", "pending"]), True),
        (edit("spec", "match", 2, "before", value="now-1800s"), True),
        (edit("spec", "match", 2, "before", value="now-31m"), False),
        (edit("spec", "match", 3, "isNull", value=False), False),
        (edit("spec", "write", "update", 0, "value", value="closed"), False),
        (edit("spec", "effect", "timeout", value="16s"), True),
        (edit("spec", "effect", "concurrency", value=3), True),
        (edit("spec", "source", "lockTimeout", value="1s"), True),
        (edit("spec", "source", "statementTimeout", value="60s"), True),
        (edit("spec", "limits", "batchRows", value=50), True),
        (edit("spec", "limits", "batchTime", value="50ms"), True),
        (edit("spec", "limits", "rowsPerSecond", value=50), True),
        (edit("spec", "limits", "maxRowsPerSweep", value=50), False),
        (edit("spec", "limits", "approveAbove", value={"rows": 50}), False),
        (edit("spec", "limits", "approveAbove", value={"rows": 50000, "share": 5}), False),
        (edit("spec", "limits", "approveAbove", value={"rows": 50000, "timesMedian": 5}), False),
        (edit("spec", "retry", "maxAttempts", value=2), False),
        (edit("spec", "retry", "maxBackoff", value="1h"), False),
        (edit("spec", "deadLetters", value={}), True),
        (edit("spec", "worker", "maxReplicas", value=80), True),
        (edit("spec", "worker", "jobsPerReplica", value=3), True),
        (edit("spec", "worker", "concurrency", value=9), True),
        (edit("spec", "mode", value="Enforce"), False),
        (edit("spec", "source", "naiveTimeZone", value="UTC"), False),
        (edit("metadata", "uid", value="another"), False),
    ],
)
def test_the_hash_of_a_plan_changes_only_with_what_the_work_is_made_from(
    change: Callable[[dict[str, Any]], None], same: bool
) -> None:
    document = copy.deepcopy(yaml.safe_load(FULL))
    change(document)
    assert compile_plan(SweepSchedule.model_validate(document)).version.same(compiled().version) is same


HASHED = """
Match op column values offset is_null sql unit
Source table schema key naive_time_zone session
Session time_zone date_style interval_style search_path
Webhook url headers_secret batch_rows sign_with
Effect columns key webhook handler
Assignment column value sql
Archive table schema lossy
Write update archive children
RowLimits max_rows_per_sweep approve_above_rows approve_above_share approve_above_times_median
RetryPolicy max_attempts backoff max_backoff
Plan namespace name uid source match format install mode effect write limits retry
"""


TUNING = """
Source lock_timeout statement_timeout health
Webhook timeout
Effect concurrency timeout
RowLimits batch_rows batch_time rows_per_second
Plan generation retention halt_above concurrency max_replicas jobs_per_replica
"""


def named(text: str) -> dict[str, set[str]]:
    return {name: set(fields) for name, *fields in map(str.split, text.strip().splitlines())}


def test_of_every_field_of_a_plan_it_is_decided_whether_it_is_in_the_hash() -> None:
    """A new field goes into ``HASHED``, or into ``PACE`` of the plan, of docs/concepts.md and of this test."""
    hashed, pace = named(HASHED), named(TUNING)
    assert {part.__name__: names for part, names in plans.TUNING.items()} == pace
    for name, fields in hashed.items():
        part = getattr(plans, name)
        assert set(part.__struct_fields__) == fields | pace.get(name, set()), name


@pytest.mark.parametrize(
    ("spec", "hash_"),
    [
        ({}, "ce57fc249306f692"),
        (
            {
                "effect": {
                    "webhook": {"url": "https://h.example/x", "headersFrom": {"secretRef": {"name": "hs"}}},
                },
                "write": {"update": [{"column": "status", "value": "closed"}]},
                "limits": {"maxRowsPerSweep": 5, "approveAbove": {"rows": 9}},
                "retry": {"maxAttempts": 3, "backoff": "1s", "maxBackoff": "1m"},
            },
            "7edcca5b5454f485",
        ),
        (
            {
                "write": {"delete": {"archiveTo": {"table": "old"}}},
                "mode": "DryRun",
                "source": {
                    "urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}},
                    "table": "t",
                    "schema": "public",
                    "key": ["id", "n"],
                    "naiveTimeZone": "Europe/Berlin",
                },
            },
            "0c4a4b5b3a49324b",
        ),
    ],
)
def test_the_hash_of_a_spec_is_the_same_in_all_versions(spec: dict[str, Any], hash_: str) -> None:
    least = {
        "every": "5m",
        "source": {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, "table": "t"},
        "match": [{"column": "a", "before": "now"}],
        "write": {"delete": {}},
    }
    document = {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "x"}}
    plan = compile_plan(SweepSchedule.model_validate({**document, "spec": {**least, **spec}}), uid="u")
    assert plan.version.hash == hash_
