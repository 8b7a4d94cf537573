"""docs/errors.md, section "Spec and files": each row of its table is a case here, so that the two cannot drift apart."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml

from kubesweep import SpecErrors, load
from kubesweep.api import compile as _compile
from kubesweep.api.loading import files as _load
from kubesweep.api.loading import local_database, validation, yaml_document
from kubesweep.api.models import actions, connection, secret, source, spec, types, web_address, worker
from tests.kits.invalid_specs import Row, base, change, rows

MODULES = (
    _compile,
    connection,
    validation,
    _load,
    local_database,
    secret,
    types,
    actions,
    source,
    web_address,
    worker,
    spec,
    yaml_document,
)
SOURCES = [Path(str(module.__file__)) for module in MODULES]


def write(folder: Path, edits: str) -> Path:
    """The base file with the row's change, or the row's own text."""
    file = folder / "sweep.yaml"
    if edits == "a file that does not exist":
        return file
    if edits == "a folder without YAML":
        return folder
    if edits == "a file of 1000001 characters":
        file.write_text("#" * 1_000_001)
    elif edits.startswith("file: "):
        file.write_bytes(edits.removeprefix("file: ").encode().decode("unicode_escape").encode("latin-1"))
    elif edits.startswith("append: "):
        file.write_text(base() + edits.removeprefix("append: ").encode().decode("unicode_escape"))
    else:
        documents = {each["kind"]: copy.deepcopy(each) for each in yaml.safe_load_all(base())}
        for each in edits.split(" ; "):
            if not each.startswith("--url"):
                change(documents, each)
        file.write_text(yaml.safe_dump_all(documents.values(), sort_keys=False, allow_unicode=True))
    return file


def problems(folder: Path, edits: str) -> tuple[SpecErrors, Path]:
    file = write(folder, edits)
    url = next((part.removeprefix("--url ") for part in edits.split(" ; ") if part.startswith("--url ")), None)
    with pytest.raises(SpecErrors) as caught:
        load([file], url=url)
    return caught.value, file


def test_the_base_document_of_the_table_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(base())
    assert [each.name for each in load([file])] == ["expire-conversations"]


def test_the_table_has_many_rows_and_none_twice() -> None:
    changes = [row.change for row in rows()]
    assert len(changes) >= 40
    assert len(set(changes)) == len(changes)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.change[:60])
def test_each_row_of_the_table_is_what_happens(row: Row, tmp_path: Path) -> None:
    error, file = problems(tmp_path, row.change)
    reported = [re.sub(r"^:\d+", "", str(each).removeprefix(str(file))).removeprefix(": ") for each in error.problems]
    reported = [text.replace(str(file), "sweep.yaml") for text in reported]
    assert (error.code, reported) == (row.code, [row.text])
    assert "hunter2" not in str(error)


def test_every_code_in_the_source_has_a_row() -> None:
    text = "\n".join(path.read_text() for path in SOURCES)
    used = set(re.findall(r"(?:refuse|problem|Problem|Shape|_refuse)\(\s*(?:\w+_node, |node, )?\"([A-Z]\w+)\"", text))
    used |= set(re.findall(r"code=\"([A-Z]\w+)\"", text)) | {"DuplicateSweepSchedule", "DuplicateSecret", "OutOfBounds"}
    assert len(used) > 30
    assert used - {row.code for row in rows()} == set()
