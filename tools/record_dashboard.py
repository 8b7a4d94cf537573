"""Draw the pictures of docs/dashboard.md: ``make dashboard-pictures`` -> docs/images/dashboard-*.png.

A Prometheus gets made-up metrics of three hours (:mod:`tools.dashboard_scene`) and answers the queries of the panels. Their answers are drawn
as HTML (:mod:`tools.dashboard_drawing`), because no Grafana can be installed from a package index or from Debian. A headless Chromium
takes the pictures. It needs Debian's packages ``prometheus``, ``chromium`` and ``chromium-driver``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.kits.browser import chromium
from tests.kits.prometheus import Prometheus, Series, prometheus
from tools.dashboard.causes import DATABASE, DIED, TIME
from tools.dashboard.overview import KEEP_UP, WRONG
from tools.dashboard.panels import Panel, Row
from tools.dashboard_drawing import COLUMN, STYLE, drawn_row
from tools.dashboard_scene import SECONDS, open_metrics

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images"
PICTURES: Mapping[str, tuple[Row, ...]] = {"overview": (WRONG, KEEP_UP), "time": (TIME,), "database": (DIED, DATABASE)}
STEP = 60.0  # seconds between two values of a line


@contextmanager
def scene_served(folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that has the metrics until now."""
    (folder / "metrics").write_text(open_metrics(time.time()))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "metrics"), str(folder / "data")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with prometheus(folder, [], {"groups": []}) as server:
        yield server


def answers(server: Prometheus, panel: Panel) -> list[list[Series]]:
    """Of each query, as Grafana gets them."""
    now, found = time.time(), []
    for query in panel.queries:
        text = re.sub(r"\$(\w+)", lambda name: "2m" if name[1] == "__rate_interval" else ".*", query.expr)
        at_once = panel.kind in ("number", "table")
        found.append(server.instant(text) if at_once else server.range(text, now - SECONDS + 120, now, STEP))
    return found


def page(server: Prometheus, rows: tuple[Row, ...]) -> str:
    drawn = (drawn_row(row, [answers(server, panel) for panel in row.panels]) for row in rows)
    return f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style>{"".join(drawn)}'


def record(folder: Path) -> list[Path]:
    """Take all pictures. Returns their files."""
    files = []
    with tempfile.TemporaryDirectory() as name, scene_served(Path(name)) as server, chromium(Path(name)) as browser:
        for picture, rows in PICTURES.items():
            source = Path(name) / f"{picture}.html"
            source.write_text(page(server, rows), encoding="utf-8")
            browser.size(24 * COLUMN, 900)
            browser.open(source.as_uri())
            browser.size(24 * COLUMN, int(browser.script("return document.documentElement.offsetHeight")) + 8)
            file = folder / f"dashboard-{picture}.png"
            file.write_bytes(browser.driver.get_screenshot_as_png())
            files.append(file)
    return files


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.record_dashboard", description="Draw the pictures.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    for file in record(parser.parse_args().folder):
        print(f"wrote {file}, {file.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
