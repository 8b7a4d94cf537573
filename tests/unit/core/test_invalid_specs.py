"""The table of what a cluster says (docs/errors.md, section "In a cluster"), without a cluster: it is whole, and the model
refuses all that the API server refuses. The end-to-end test of the same name applies each row."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from kubesweep import SpecErrors, load_object
from kubesweep.api.loading import yaml_document
from tests.kits.invalid_specs import ClusterRow, base, change, cluster_rows, rows


def changed(row: ClusterRow) -> dict[str, Any]:
    documents = {each["kind"]: copy.deepcopy(each) for each in yaml.safe_load_all(base())}
    for edits in row.change.split(" ; "):
        change(documents, edits)
    (document,) = yaml_document.read(yaml.safe_dump(documents["SweepSchedule"]), "")
    assert isinstance(document, yaml_document.Document)
    schedule: dict[str, Any] = document.data
    return schedule


def test_every_row_about_a_schedule_says_what_a_cluster_says() -> None:
    assert [row.change for row in cluster_rows()] == [row.change for row in rows() if row.of_the_schedule]
    assert len(cluster_rows()) > 100


@pytest.mark.parametrize("row", cluster_rows(), ids=lambda row: row.change[:60])
def test_the_model_refuses_it_too_and_names_the_field(row: ClusterRow) -> None:
    with pytest.raises(SpecErrors) as caught:
        load_object(changed(row))
    assert all(each.path.startswith(("spec", "metadata.name")) for each in caught.value.problems)


@pytest.mark.parametrize("row", cluster_rows(), ids=lambda row: row.change[:60])
def test_each_way_of_applying_it_names_the_field(row: ClusterRow) -> None:
    for text in (row.applied, row.ignoring, row.server_side):
        path = text.removeprefix("condition ").removeprefix('unknown field "').removeprefix(".")
        assert path.startswith(("spec", "metadata.name")), text
