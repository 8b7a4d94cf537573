from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesweep import Plan, SweepSchedule, compile_plan, load
from kubesweep.api import plan as plans
from kubesweep.api.database_url import SSL_MODES

FULL = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: process-idle-conversations, namespace: support, labels: {team: support}}
spec:
  schedule: "*/5 * * * *"
  timeZone: America/Sao_Paulo
  startingDeadlineSeconds: 300
  suspend: false
  mode: DryRun
  source:
    urlFrom: {secretKeyRef: {name: support-db, key: url}}
    schema: public
    table: conversations
    key: [id]
    lockTimeout: 200ms
    statementTimeout: 20s
    naiveTimeZone: America/Sao_Paulo
  match:
    - {column: status, in: [pending, progress]}
    - {column: expires_at, before: now}
    - {column: updated_at, before: now-30m}
    - {column: deleted_at, isNull: true}
    - {column: closed_at, isNull: false}
    - {sql: "t.channel <> 'vip'"}
  effect:
    columns: [id, from_number, session_key]
    concurrency: 30
    timeout: 15s
    handler: support.sweeps:close_idle
  write:
    update: [{column: status, value: expired}, {column: closed_at, sql: "now()"}]
  limits: {batchRows: 500, rowsPerSecond: 5000, maxRowsPerSweep: 1000000, approveAbove: {rows: 50000}}
  retry: {maxAttempts: 6, backoff: 3s, maxBackoff: 10m}
  deadLetters: {retention: 48h, haltAbove: 2000}
  worker:
    image: registry/app:1
    minReplicas: 1
    maxReplicas: 8
    jobsPerReplica: 20
    concurrency: 3
    cooldown: 90s
    resources: {limits: {memory: 256Mi, cpu: 1}}
    env: [{name: A, value: b}]
    envFrom: [{configMapRef: {name: app}}]
    podTemplate: {spec: {nodeSelector: {disk: ssd}, tolerations: null}}
"""


def compiled(text: str = FULL, **options: Any) -> Plan:
    return compile_plan(SweepSchedule.model_validate(yaml.safe_load(text)), **options)


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
            batch_rows=500, rows_per_second=5000, max_rows_per_sweep=1_000_000, approve_above_rows=50_000
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
        (edit("spec", "match", 2, "before", value="now-31m"), False),
        (edit("spec", "match", 3, "isNull", value=False), False),
        (edit("spec", "write", "update", 0, "value", value="closed"), False),
        (edit("spec", "effect", "timeout", value="16s"), True),
        (edit("spec", "effect", "concurrency", value=3), True),
        (edit("spec", "source", "lockTimeout", value="1s"), True),
        (edit("spec", "source", "statementTimeout", value="60s"), True),
        (edit("spec", "limits", "batchRows", value=50), True),
        (edit("spec", "limits", "rowsPerSecond", value=50), True),
        (edit("spec", "limits", "maxRowsPerSweep", value=50), False),
        (edit("spec", "limits", "approveAbove", value={"rows": 50}), False),
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
Webhook url headers_secret
Effect columns key webhook handler
Assignment column value sql
Archive table schema lossy
Write update archive children
RowLimits max_rows_per_sweep approve_above_rows
RetryPolicy max_attempts backoff max_backoff
Plan namespace name uid source match format install mode effect write limits retry
"""
TUNING = """
Source lock_timeout statement_timeout
Webhook timeout
Effect concurrency timeout
RowLimits batch_rows rows_per_second
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


def durations(least: int, most: int) -> st.SearchStrategy[str]:
    return st.integers(least, most).map(lambda seconds: f"{seconds}s")


HOSTILE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15)
SQL = st.sampled_from(["t.a <> 'x'", "a LIKE '100%'", "a::text = ':cutoff'", "now() - :cutoff > '1 day'", "(a)\n-- b"])
VALUE = HOSTILE | st.just("") | st.integers(-(2**63), 2**63 - 1)
MATCH = st.one_of(
    st.fixed_dictionaries({"column": HOSTILE, "in": st.lists(VALUE, min_size=1, max_size=4)}),
    st.fixed_dictionaries({"column": HOSTILE, "lessThan": VALUE}),
    st.fixed_dictionaries({"column": HOSTILE, "before": st.just("now") | durations(0, 9**7).map("now-{}".format)}),
    st.fixed_dictionaries({"column": HOSTILE, "isNull": st.booleans()}),
    st.fixed_dictionaries({"sql": SQL}),
)
UPDATE = st.lists(
    st.fixed_dictionaries({"column": HOSTILE, "value": VALUE}) | st.fixed_dictionaries({"column": HOSTILE, "sql": SQL}),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each["column"],
)
HOSTS = [
    "db",
    "a-b.c.svc.cluster.local.",
    "10.0.0.1",
    "::1",
    "[2001:db8::7]",
    "fe80::1%eth0",
    "/run/cloud sql/a:b",
    "a,[::1],b",
    "ü.example",
]
CONNECTION = st.fixed_dictionaries(
    {"host": st.sampled_from(HOSTS), "database": HOSTILE, "username": HOSTILE},
    optional={
        "secretRef": st.sampled_from([{"name": "db"}, {"name": "db", "keys": {"username": "user", "port": "my_port"}}]),
        "port": st.integers(1, 65_535),
        "passwordFile": HOSTILE.map("/run/{}".format),
        "caFrom": st.just({"secretKeyRef": {"name": "db-ca", "key": "ca.crt"}}),
        "parameters": st.dictionaries(st.sampled_from(["options", "sslcrl", "target_session_attrs"]), HOSTILE)
        | st.sampled_from(SSL_MODES).map(lambda mode: {"sslmode": mode}),
    },
)
LOGIN = st.one_of(
    st.just({"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}),
    st.just({"urlFrom": {"file": "/run/iam/url"}}),
    CONNECTION.map(lambda given: {"connection": given}),
    st.just({"connection": {"secretRef": {"name": "db"}}}),
)
PLACE = st.fixed_dictionaries(
    {"table": HOSTILE},
    optional={
        "schema": HOSTILE,
        "key": st.lists(HOSTILE, min_size=1, max_size=4, unique=True),
        "lockTimeout": st.integers(1, 60_000).map("{}ms".format),
        "statementTimeout": durations(1, 240),
        "naiveTimeZone": st.sampled_from(["UTC", "Europe/Berlin"]),
    },
)
SOURCE = st.builds(lambda login, place: {**login, **place}, LOGIN, PLACE)
SPEC = st.fixed_dictionaries(
    {
        "every": durations(5, 86_400),
        "source": SOURCE,
        "match": st.lists(MATCH, min_size=1, max_size=4),
        "write": st.fixed_dictionaries({"update": UPDATE})
        | st.just({"delete": {}})
        | HOSTILE.map(lambda table: {"delete": {"archiveTo": {"table": table}}}),
    },
    optional={
        "mode": st.sampled_from(["Enforce", "DryRun"]),
        "suspend": st.booleans(),
        "limits": st.fixed_dictionaries(
            {},
            optional={
                "batchRows": st.integers(1, 10_000),
                "approveAbove": st.fixed_dictionaries({"rows": st.integers(0, 9)}),
            },
        ),
        "effect": st.fixed_dictionaries(
            {"handler": st.just("a.b:c")},
            optional={
                "concurrency": st.integers(1, 1000),
                "columns": st.lists(HOSTILE, min_size=1, max_size=3, unique=True),
            },
        ),
    },
)


class Quoting(yaml.SafeDumper):
    """Puts texts into quotes: PyYAML leaves 0E0 or y bare, which kubectl and we read as a number and as true."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@settings(deadline=None, max_examples=60)
@given(SPEC)
def test_every_valid_spec_survives_yaml_with_the_same_plan(spec: dict[str, Any]) -> None:
    document = {
        "apiVersion": "kubesweep.dev/v1alpha1",
        "kind": "SweepSchedule",
        "metadata": {"name": "x"},
        "spec": spec,
    }
    plan = compile_plan(SweepSchedule.model_validate(document))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        for text in (yaml.dump(document, Dumper=Quoting), yaml.dump(document, Dumper=Quoting, default_flow_style=True)):
            file.write_text(text, newline="", encoding="utf-8")
            (found,) = load([file], url="sqlite:///x.db")
            assert found.plan == plan
            assert found.plan.version == plan.version


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
