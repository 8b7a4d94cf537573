"""The first screen of the README: its YAML, and what ``check`` and ``run`` print for it on a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.kits.deadlines import scaled
from tests.kits.documents import Command, File, difference, steps

README = Path(__file__).parents[2] / "README.md"
URL = "postgresql://sweeper:secret@localhost/shop"
CARTS = """
CREATE TABLE carts (id bigserial PRIMARY KEY, status text NOT NULL, updated_at timestamptz NOT NULL);
INSERT INTO carts (status, updated_at)
  SELECT 'open', now() - CASE WHEN n % 5 = 0 THEN interval '1 hour' ELSE interval '2 days' END
  FROM generate_series(1, 50000) AS n;
CREATE INDEX ON carts (status, updated_at);
ANALYZE carts;
"""


def local_steps() -> list[Command | File]:
    """The blocks that are marked ``local``; those marked ``run`` need a cluster."""
    text = README.read_text(encoding="utf-8").replace("<!-- run -->\n", "\n")
    return list(steps(text.replace("<!-- local: run -->", "<!-- run -->").replace("<!-- local: file:", "<!-- file:")))


def test_the_first_screen_prints_what_it_shows(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(CARTS)  # type: ignore[call-overload,unused-ignore]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KUBESWEEP_")}
    environment = {**kept, "PATH": path, "XDG_STATE_HOME": str(tmp_path / "state"), "COLUMNS": "100"}
    commands = 0
    for step in local_steps():
        if isinstance(step, File):
            assert URL in step.text
            (tmp_path / step.path).write_text(step.text.replace(URL, database))
            continue
        done = subprocess.run(
            ["bash", "-c", step.text],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=scaled(60),
            check=False,
        )
        assert done.returncode == 0, done.stdout
        if (wrong := difference(step.shown, done.stdout)) is not None:
            pytest.fail(f"README.md:{step.line}: {step.text}\n{wrong}")
        commands += 1
    assert commands == 2
