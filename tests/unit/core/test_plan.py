from __future__ import annotations

from typing import Any

import msgspec
import yaml

from kubesweep import Plan, SweepSchedule, compile_plan
from kubesweep.api import plan as plans
from kubesweep.queue.model import Pace
from tests.unit.core.full_spec import FULL, compiled


def test_the_plan_of_a_full_schedule_has_everything_in_seconds() -> None:
    assert compiled(uid="u-1", generation=4, install="i") == Plan(
        install="i",
        namespace="support",
        name="process-idle-conversations",
        uid="u-1",
        generation=4,
        mode="DryRun",
        source=plans.Source(
            table="conversations",
            schema="public",
            key=("id",),
            lock_timeout=0.2,
            statement_timeout=20.0,
            naive_time_zone="America/Sao_Paulo",
        ),
        match=(
            plans.Match(op="in", column="status", values=("pending", "progress")),
            plans.Match(op="before", column="expires_at"),
            plans.Match(op="before", column="updated_at", offset=1800.0),
            plans.Match(op="isNull", column="deleted_at"),
            plans.Match(op="isNull", column="closed_at", is_null=False),
            plans.Match(op="sql", sql="t.channel <> 'vip'"),
        ),
        effect=plans.Effect(
            columns=("id", "from_number", "session_key"),
            concurrency=30,
            timeout=15.0,
            handler="support.sweeps:close_idle",
        ),
        write=plans.Write(
            update=(plans.Assignment("status", value="expired"), plans.Assignment("closed_at", sql="now()"))
        ),
        limits=plans.RowLimits(
            batch_rows=500,
            batch_time=0.3,
            rows_per_second=5000,
            max_rows_per_sweep=1_000_000,
            approve_above_rows=50_000,
        ),
        retry=plans.RetryPolicy(max_attempts=6, backoff=3.0, max_backoff=600.0),
        retention=172_800.0,
        halt_above=2000,
        concurrency=3,
        max_replicas=8,
        jobs_per_replica=20,
    )


def test_defaults_of_the_spec_and_of_the_plan_are_the_same() -> None:
    spec = {
        "every": "5m",
        "source": {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, "table": "t"},
        "match": [{"column": "a", "before": "now"}],
        "write": {"delete": {}},
        "effect": {"webhook": {"url": "http://localhost:8080/"}},
    }
    least = SweepSchedule.model_validate(
        {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "x"}, "spec": spec}
    )
    plan = compile_plan(least, uid="u")
    assert plan == Plan(
        namespace="default",
        name="x",
        uid="u",
        source=plans.Source(table="t"),
        match=(plans.Match(op="before", column="a"),),
        effect=plans.Effect(webhook=plans.Webhook("http://localhost:8080/")),
        write=plans.Write(),
    )
    assert plan.write is not None
    assert plan.write.deletes


def test_an_archive_is_part_of_a_delete() -> None:
    document = yaml.safe_load(FULL)
    document["spec"]["write"] = {"delete": {"archiveTo": {"schema": "archive", "table": "conversations"}}}
    write = compile_plan(SweepSchedule.model_validate(document)).write
    assert write == plans.Write(archive=plans.Archive("conversations", "archive"))


def described(schema: dict[str, Any]) -> list[str]:
    """Places in a JSON schema that a person or the API server would miss something at."""
    missing = []
    for name, model in {**schema["$defs"], "SweepSchedule": schema}.items():
        for field, body in model.get("properties", {}).items():
            model_name = body.get("$ref", "").removeprefix("#/$defs/")
            sentence = body.get("description") or schema["$defs"].get(model_name, {}).get("description", "")
            if not sentence.endswith("."):
                missing.append(f"{name}.{field} has no sentence")
            for shape in body.get("anyOf", [body]):
                kind = shape.get("type")
                if kind == "array" and "maxItems" not in shape:
                    missing.append(f"{name}.{field} is an unbounded list")
                if kind == "string" and not ({"maxLength", "enum", "const"} & shape.keys()):
                    missing.append(f"{name}.{field} is unbounded text")
                if kind == "integer" and name not in ("ScheduleMeta",) and not {"minimum", "maximum"} <= shape.keys():
                    missing.append(f"{name}.{field} is an unbounded number")
    return missing


def test_every_field_has_a_sentence_and_bounds() -> None:
    assert described(SweepSchedule.model_json_schema(by_alias=True)) == []


def test_an_edit_of_the_rate_or_of_the_time_of_a_batch_alone_restarts_no_worker() -> None:
    plan = compiled(uid="u-1", generation=4, install="i")
    faster = msgspec.structs.replace(
        plan, generation=7, limits=msgspec.structs.replace(plan.limits, rows_per_second=9, batch_time=1.0)
    )
    larger = msgspec.structs.replace(plan, limits=msgspec.structs.replace(plan.limits, batch_rows=9))
    assert plan.runs_as(faster)
    assert not plan.runs_as(larger)
    at = plan.at(Pace.of(9.0, batch_time=1.0)).limits
    assert (at.rows_per_second, at.batch_time) == (9.0, 1.0)
    assert faster.pace == Pace.of(9.0, batch_time=1.0)
    assert faster.throttled("off") == Pace.of(9.0, "off", 1.0)
