"""docs/errors.md, section "In a cluster": the message for each row of the table of invalid specs, applied in four ways.

Each row is applied with kubectl, client-side and server-side, with and without validation of unknown fields.
Either kubectl prints the reason, or the object is created and the controller's condition has the reason.
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
    for edit in row.change.split(" ; "):
        change(documents, edit)
    return yaml.safe_dump(schedule, sort_keys=False, allow_unicode=True)


def kubectl_message(printed: str) -> str:
    """kubectl's message without the object, the file and the note about unchecked rules."""
    text = re.sub(
        r"^.*?(?: is invalid: |strict decoding error: |failed to create typed patch object \([^)]*\): )",
        "",
        printed,
        flags=re.DOTALL,
    )
    lines = [line.removeprefix("* ") for line in text.strip().splitlines()]
    return "<br>".join(line for line in lines if line and "some validation rules were not checked" not in line)


def kubectl_error(row: ClusterRow, name: str, namespace: str, way: str) -> str:
    """kubectl's message for a row applied in one way; empty if the object was created."""
    ran = kubectl("apply", *WAYS[way], "-f", "-", stdin=manifest(row, name, namespace))
    return kubectl_message(ran.stderr) if ran.returncode else ""


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
    names = [f"way-{list(WAYS).index(way)}-{number}" for number in range(len(rows))]
    with ThreadPoolExecutor(4) as pool:
        errors = list(pool.map(lambda row, name: kubectl_error(row, name, namespace, way), rows, names))
    created = {each["metadata"]["name"]: each for each in read("sweepschedules", namespace)["items"]}
    found = [
        error or f"condition {refusal(created[name])}" for name, error in zip(names, errors, strict=True)
    ]  # a message of the controller begins with "condition"
    wrong = {
        row.change: (got, row.message(way)) for row, got in zip(rows, found, strict=True) if got != row.message(way)
    }
    assert wrong == {}
