"""The pictures of docs/dashboard.md can be drawn again, and every panel has data in them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_console_pictures import LARGEST, size
from tests.kits.browser import needs_chromium
from tests.kits.prometheus import Prometheus
from tools.dashboard.panels import Panel
from tools.record_dashboard import FOLDER, PICTURES, answers, page, record, scene_served

PAGE = Path(__file__).parents[2] / "docs" / "dashboard.md"
PANELS = [panel for rows in PICTURES.values() for row in rows for panel in row.panels]
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason="needs Debian's prometheus"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with scene_served(tmp_path_factory.mktemp("scene")) as made:
        yield made


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_on_the_page_and_small(name: str) -> None:
    assert f"](images/dashboard-{name}.png)" in PAGE.read_text(encoding="utf-8")
    assert (FOLDER / f"dashboard-{name}.png").stat().st_size < LARGEST


@needs_prometheus
@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title.replace(" ", "-"))
def test_every_query_has_an_answer_with_numbers(server: Prometheus, panel: Panel) -> None:
    for found in answers(server, panel):
        assert found
        for series in found:
            values = series.get("values") or [series["value"]]
            assert any(not math.isnan(float(value)) for _, value in values)


@needs_prometheus
def test_every_panel_is_drawn_in_its_row(server: Prometheus) -> None:
    for rows in PICTURES.values():
        drawn = page(server, rows)
        assert drawn.count("<article") == sum(len(row.panels) for row in rows)
        assert "nan" not in drawn


@needs_prometheus
@needs_chromium
def test_the_pictures_are_drawn_again_in_the_same_sizes(tmp_path: Path) -> None:
    for file in record(tmp_path):
        assert size(file) == size(FOLDER / file.name)
        assert 10_000 < file.stat().st_size < LARGEST
