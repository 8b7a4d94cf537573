"""Any valid spec: written as YAML and read again, it has the same plan."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesweep import SweepSchedule, compile_plan, load
from kubesweep.api.database_url import SSL_MODES


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
                "approveAbove": st.fixed_dictionaries(
                    {"rows": st.integers(0, 9)},
                    optional={"share": st.integers(1, 100), "timesMedian": st.integers(2, 1000)},
                ),
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
