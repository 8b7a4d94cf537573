"""examples/at-scale: its script works, and its README lists its files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.deadlines import scaled

EXAMPLE = Path(__file__).parents[2] / "examples" / "at-scale"
ROWS = 50_000
TUNING = "rowsPerSecond: 40000"
SLOW = "rowsPerSecond: 2000"  # five seconds between two kills, on a machine of any speed


@pytest.mark.slow
def test_workers_are_killed_and_every_stale_row_is_written_exactly_once(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    sweep = tmp_path / "sweep.yaml"
    assert TUNING in sweep.read_text()
    sweep.write_text(sweep.read_text().replace(TUNING, SLOW))
    done = subprocess.run(
        (sys.executable, "storm.py", "--rows", str(ROWS), "--kills", "2"),
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=scaled(300),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    stale = ROWS * 3 // 5
    assert re.findall(r"^== kill (\d): worker", done.stdout, re.MULTILINE) == ["1", "2"]
    assert f"== ok    0 of {stale:,} stale carts are left" in done.stdout
    assert f"== ok    {stale:,} writes made {stale:,} abandoned carts" in done.stdout
    assert "== ok    0 carts were written twice" in done.stdout
    assert f"totals: {stale:,} planned, {stale:,} settled" in done.stdout
    assert "WRONG" not in done.stdout


def test_every_file_of_the_example_is_in_its_readme() -> None:
    files = {file.name for file in EXAMPLE.iterdir() if file.is_file()} - {"README.md"}
    assert files == set(re.findall(r"\]\((\w+\.\w+)\)", (EXAMPLE / "README.md").read_text()))
