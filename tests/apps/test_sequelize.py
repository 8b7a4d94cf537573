"""Sequelize on SQLite: three schedules leave the same rows as the application's ``Model.destroy``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.apps.comparison import INSTALLED, assert_same, removed, rows, run, summary, sweep

APPLICATION = Path(__file__).parent / "sequelize"


def node(script: str, database: Path) -> None:
    modules = INSTALLED / "sequelize" / "node_modules"
    if not modules.is_dir():
        pytest.fail("Sequelize is not installed: run `make apps` once, which installs it")
    run("node", script, cwd=APPLICATION, NODE_PATH=str(modules), DATABASE=str(database))


@pytest.mark.skipif(shutil.which("npm") is None, reason="this machine has no Node.js with npm")
async def test_the_sweeps_leave_what_the_applications_own_destroy_leaves(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    swept, cleaned = tmp_path / "swept.db", tmp_path / "cleaned.db"
    node("fill.js", swept)
    shutil.copyfile(swept, cleaned)
    url, other = (f"sqlite:///{file}" for file in (swept, cleaned))
    before = rows(url)

    node("clean.js", cleaned)
    applied = await sweep(APPLICATION / "sweep.yaml", url)

    left = rows(url)
    assert_same(left, rows(other))
    assert removed(before, left) == {
        "Tokens": applied["expired-tokens"],
        "TokenUses": 2 * applied["expired-tokens"],
        "Carts": applied["deleted-carts"],
        "Visits": applied["old-visits"],
    }
    assert all(applied.values()), applied
    record_property("rows", summary("Sequelize", before, left))
