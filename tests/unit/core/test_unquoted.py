"""Values of columns without quotes: as they are written, or refused; never another value than the one that stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubesweep import SpecErrors, load
from tests.kits.invalid_specs import base

VALUES = "[pending, progress]"


def loaded(folder: Path, written: str) -> tuple[str, ...]:
    text = base()
    assert VALUES in text
    file = folder / "sweep.yaml"
    file.write_text(text.replace(VALUES, f"[{written}]"))
    return load([file])[0].plan.match[0].values


@pytest.mark.parametrize(
    "written", ["true", "false", "1.10", "-0.5", "0", "-7", "123456789.12345678901234567890", "9223372036854775807"]
)
def test_a_value_is_what_is_written(tmp_path: Path, written: str) -> None:
    assert loaded(tmp_path, written) == loaded(tmp_path, f'"{written}"') == (written,)


@pytest.mark.parametrize(
    "written", ["yes", "on", "y", "True", "FALSE", "007", "0x10", "0o17", "1_000", "+5", "1e3", "1.", ".5", ".inf", "~"]
)
def test_what_yaml_reads_as_something_else_needs_quotes(tmp_path: Path, written: str) -> None:
    with pytest.raises(SpecErrors, match=r"spec\.match\[0\]\.in\[0\]: .*"):
        loaded(tmp_path, written)
    assert loaded(tmp_path, f'"{written}"') == (written,)


def test_every_field_of_a_value_takes_them(tmp_path: Path) -> None:
    text = base().replace(f"column: status, in: {VALUES}", "column: score, lessThan: 1.50")
    assert "lessThan" in text
    file = tmp_path / "sweep.yaml"
    file.write_text(text.replace("value: expired", "value: false"))
    plan = load([file])[0].plan
    assert plan.match[0].values == ("1.50",)
    assert plan.write is not None
    assert "false" in [one.value for one in plan.write.update]
