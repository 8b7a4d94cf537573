"""docs/errors.md, section "In a cluster": what a user gets who applies each row of the table of invalid specs, in four ways.

Each row is applied with kubectl, on its own side and on the server's, with and without validation of unknown fields.
Either kubectl prints why, or the object is there and the controller's condition says why.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubesweep import SpecErrors, load_object
from tests.invalid_specs import WAYS, ClusterRow, base, change, cluster_rows

NAMESPACE = f"invalid-specs-{uuid.uuid4().hex[:8]}"
CRD = Path(__file__).parents[2] / "manifests" / "crd.yaml"


def kubectl(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", *words], input=stdin, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    for words, text in (
        (("apply", "--server-side", "--force-conflicts", "-f", str(CRD)), ""),
        (("wait", "--for=condition=Established", "crd/sweepschedules.kubesweep.dev"), ""),
        (("create", "namespace", NAMESPACE), ""),
    ):
        done = kubectl(*words, stdin=text)
        assert done.returncode == 0, done.stderr
    yield
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def manifest(row: ClusterRow, name: str) -> str:
    documents = {each["kind"]: copy.deepcopy(each) for each in yaml.safe_load_all(base())}
    schedule = documents["SweepSchedule"]
    schedule["metadata"] = {"name": name, "namespace": NAMESPACE}
    for wish in row.change.split(" ; "):
        change(documents, wish)
    return yaml.safe_dump(schedule, sort_keys=False, allow_unicode=True)


def told(printed: str) -> str:
    """What kubectl printed, without the words around it: the object, the file, and that some rules were not looked at."""
    text = re.sub(
        r"^.*?(?: is invalid: |strict decoding error: |failed to create typed patch object \([^)]*\): )",
        "",
        printed,
        flags=re.DOTALL,
    )
    lines = [line.removeprefix("* ") for line in text.strip().splitlines()]
    return "<br>".join(line for line in lines if line and "some validation rules were not checked" not in line)


def what_happens(row: ClusterRow, name: str, way: str) -> str:
    """The message of a row, applied in one way. What the controller finds begins with ``condition``."""
    done = kubectl("apply", *WAYS[way], "-f", "-", stdin=manifest(row, name))
    if done.returncode != 0:
        return told(done.stderr)
    body = json.loads(kubectl("get", "sweepschedule", name, "-n", NAMESPACE, "-o", "json").stdout)
    kubectl("delete", "sweepschedule", name, "-n", NAMESPACE, "--wait=false")
    return f"condition {refusal(body)}"


def refusal(body: dict[str, Any]) -> str:
    try:
        load_object(body)
    except SpecErrors as error:
        return "<br>".join(str(error).splitlines())
    return "nothing: the schedule runs"


@pytest.mark.parametrize("way", WAYS)
def test_each_row_of_the_table_is_what_the_user_gets(way: str) -> None:
    rows = cluster_rows()
    assert len(rows) >= 90
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: what_happens(pair[1], f"row-{pair[0]}", way), enumerate(rows)))
    wrong = {row.change: (got, row.says(way)) for row, got in zip(rows, found, strict=True) if got != row.says(way)}
    assert wrong == {}
