"""docs/errors.md, section "In a cluster": what a user gets who applies each row of the table of invalid specs, in four ways.

Each row is applied with kubectl, on its own side and on the server's, with and without validation of unknown fields.
Either kubectl prints why, or the object is there and the controller's condition says why.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from kubesweep import SpecErrors, load_object
from tests.kits.invalid_specs import WAYS, ClusterRow, base, change, cluster_rows
from tests.kits.kubectl import kubectl, namespace_with_crd, read


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with namespace_with_crd() as name:
        yield name


def manifest(row: ClusterRow, name: str, namespace: str) -> str:
    documents = {each["kind"]: copy.deepcopy(each) for each in yaml.safe_load_all(base())}
    schedule = documents["SweepSchedule"]
    schedule["metadata"] = {"name": name, "namespace": namespace}
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


def what_happens(row: ClusterRow, name: str, namespace: str, way: str) -> str:
    """The message of a row, applied in one way. What the controller finds begins with ``condition``."""
    done = kubectl("apply", *WAYS[way], "-f", "-", stdin=manifest(row, name, namespace))
    if done.returncode != 0:
        return told(done.stderr)
    body = read(f"sweepschedule/{name}", namespace)
    kubectl("delete", "sweepschedule", name, "-n", namespace, "--wait=false")
    return f"condition {refusal(body)}"


def refusal(body: dict[str, Any]) -> str:
    try:
        load_object(body)
    except SpecErrors as error:
        return "<br>".join(str(error).splitlines())
    return "nothing: the schedule runs"


@pytest.mark.parametrize("way", WAYS)
def test_each_row_of_the_table_is_the_message_that_a_user_gets(namespace: str, way: str) -> None:
    rows = cluster_rows()
    assert len(rows) >= 90
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: what_happens(pair[1], f"row-{pair[0]}", namespace, way), enumerate(rows)))
    wrong = {row.change: (got, row.says(way)) for row, got in zip(rows, found, strict=True) if got != row.says(way)}
    assert wrong == {}
