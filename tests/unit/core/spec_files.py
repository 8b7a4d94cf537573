"""Files with a schedule and its Secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubesweep import SpecErrors, load

SCHEDULE: dict[str, Any] = {
    "apiVersion": "kubesweep.dev/v1alpha1",
    "kind": "SweepSchedule",
    "metadata": {"name": "idle"},
    "spec": {
        "every": "30s",
        "source": {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, "table": "conversations"},
        "match": [{"column": "expires_at", "before": "now"}],
        "write": {"delete": {}},
    },
}


SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db"},
    "stringData": {"url": "postgresql://sweep:hunter2@db/support"},
}


def schedule(name: str = "idle", **spec: Any) -> dict[str, Any]:
    return {**SCHEDULE, "metadata": {"name": name}, "spec": {**SCHEDULE["spec"], **spec}}


def save(folder: Path, *documents: dict[str, Any], name: str = "sweep.yaml") -> Path:
    file = folder / name
    file.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return file


def refused(*paths: Path) -> SpecErrors:
    with pytest.raises(SpecErrors) as caught:
        load(paths)
    return caught.value
