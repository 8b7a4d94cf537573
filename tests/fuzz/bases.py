"""Valid inputs to start from: the examples of the documentation, and one schedule with every field."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from kubesweep.api.compile import compile_plan
from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.plan import Plan
from tests.fuzz.damage import PASSWORD
from tests.unit.core.full_spec import FULL

__all__ = ["FIELDS", "SECRET", "files", "plans", "schedules"]

ROOT = Path(__file__).parents[2]
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db"},
    "stringData": {"url": f"postgresql://sweep:{PASSWORD}@db.example:5432/support", "password": PASSWORD, "dbname": "support"},
}  # fmt: skip
WEBHOOK: dict[str, Any] = {
    "every": "30s",
    "source": {
        "connection": {
            "secretRef": {"name": "db", "keys": {"username": "user"}},
            "host": "db.example",
            "port": 5432,
            "passwordFile": "/run/iam/password",
            "caFrom": {"secretKeyRef": {"name": "db-ca", "key": "ca.crt"}},
            "parameters": {"sslmode": "verify-full", "options": "-c a=b"},
        },
        "table": "carts",
        "session": {"timeZone": "UTC", "searchPath": ["shop", "public"]},
        "health": {"replayLag": "10s", "lockWaits": 5, "pauseOnVacuum": True},
    },
    "match": [
        {"column": "a", "notIn": ["x", 5, "007"]},
        {"column": "b", "before": "now-30m", "unit": "milliseconds"},
        {"column": "c", "lessThan": "5"},
        {"column": "d", "after": "now-1h"},
    ],
    "effect": {
        "columns": ["id"],
        "key": ["b"],
        "webhook": {
            "url": "https://shop.example:8443/hook?x=y",
            "timeout": "5s",
            "batchRows": 50,
            "headersFrom": {"secretRef": {"name": "hook"}},
            "signWith": {"secretKeyRef": {"name": "hook-signing", "key": "current"}},
        },
    },
    "write": {"delete": {"archiveTo": {"table": "carts_archive", "schema": "archive"}}},
    "limits": {"rowsPerSecond": 100, "maxRowsPerSweep": 5000},
    "worker": {
        "env": [{"name": "A", "value": "b"}],
        "podTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "worker"}], "volumes": [{"name": "v", "emptyDir": {}}]}},
    },
    "tick": {"podTemplate": {"spec": {"priorityClassName": "low"}}},
}  # fmt: skip


@functools.cache
def schedules() -> list[dict[str, Any]]:
    """SweepSchedules as plain data."""
    found = [yaml.safe_load(FULL), {**yaml.safe_load(FULL), "metadata": {"name": "carts"}, "spec": WEBHOOK}]
    for file in sorted(ROOT.glob("examples/**/*.yaml")):
        documents = [each for each in yaml.safe_load_all(file.read_text()) if isinstance(each, dict)]
        found += [each for each in documents if each.get("kind") == "SweepSchedule"]
    for each in found:
        SweepSchedule.model_validate(each)  # a base that is refused finds nothing
    return found


@functools.cache
def files() -> list[str]:
    """Texts of YAML files: the schedules with a Secret, in several styles of YAML."""
    texts = [FULL]
    for each in schedules():
        for style in ({}, {"default_flow_style": True}, {"default_style": '"'}, {"default_style": "|", "width": 40}):
            texts.append(str(yaml.safe_dump_all([each, SECRET], sort_keys=False, **style)))
    return texts


@functools.cache
def plans() -> list[Plan]:
    return [compile_plan(SweepSchedule.model_validate(each), install="shop", uid="0f3c") for each in schedules()]


def _names(value: Any) -> set[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (set(value) if isinstance(value, dict) else set()).union(*map(_names, inner))


FIELDS = [*sorted(_names(schedules())), "conection", "batch_rows", "dryRun", '"quoted"']
