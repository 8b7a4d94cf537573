"""Draws the panels of the dashboard as SVG and HTML, from the answers of a Prometheus. Pure.

It is no Grafana: it has the panels, their places, titles, units and data, and a plain look of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from kubesweep.quantities import duration
from tools.dashboard.build import FOREVER, HEIGHTS
from tools.dashboard.panels import Panel, Query, Row

__all__ = ["COLUMN", "Answers", "drawn_row"]

Answers = Sequence[Sequence[Mapping[str, Any]]]  # of each query of a panel
COLUMN, UNIT = 50, 27  # pixels of a column, of which a row has 24, and of a unit of height
GAP = 100.0  # seconds between two values that no line connects
LEFT, TOP, BOTTOM = 62, 6, 18  # pixels around the plot
COLOURS = ("#3b7dd8", "#d9822b", "#2b8a57", "#a854c8", "#c8252f", "#8a6d3b", "#5c6b7a", "#17a2b8")
STYLE = """
body { margin: 0; font: 13px "DejaVu Sans", sans-serif; color: #1c2024; background: #f4f5f7; }
h2 { margin: 0; padding: 7px 10px 3px; font-size: 15px; }
section { position: relative; }
article { position: absolute; box-sizing: border-box; padding: 5px 8px; background: #fff; border: 3px solid #f4f5f7; overflow: hidden; }
h3 { margin: 0 0 3px; font-size: 12px; letter-spacing: -.3px; white-space: nowrap; }
.big { position: absolute; inset: 28px 8px 8px; display: grid; place-items: center; font-size: 26px; color: #fff; border-radius: 3px; }
table { width: 100%; border-collapse: collapse; } th, td { text-align: left; padding: 3px 6px; border-bottom: 1px solid #dde1e6; }
.legend { margin: 0; font-size: 10px; color: #56606a; }
.legend i { display: inline-block; width: 9px; height: 9px; margin: 0 3px 0 8px; }
.legend span { white-space: nowrap; }
text { font-size: 10px; fill: #56606a; }
"""


def drawn_row(row: Row, answers: Sequence[Answers]) -> str:
    """``answers``: of each panel of the row."""
    parts, x, y = [], 0, 0
    for panel, answer in zip(row.panels, answers, strict=True):
        if x + panel.width > 24:
            x, y = 0, y + HEIGHTS[row.panels[row.panels.index(panel) - 1].kind]
        place = (
            f"left:{x * COLUMN}px;top:{y * UNIT}px;width:{panel.width * COLUMN}px;height:{HEIGHTS[panel.kind] * UNIT}px"
        )
        parts.append(f'<article style="{place}"><h3>{escape(panel.title)}</h3>{_panel(panel, answer)}</article>')
        x += panel.width
    height = (y + HEIGHTS[row.panels[-1].kind]) * UNIT
    return f'<h2>{escape(row.title)}</h2><section style="height:{height}px">{"".join(parts)}</section>'


def _panel(panel: Panel, answers: Answers) -> str:
    if panel.kind == "number":
        return _number(panel, float(answers[0][0]["value"][1]))
    if panel.kind == "table":
        return _table(panel, answers[0])
    lines = [
        (_name(query, each["metric"]), _values(each))
        for query, found in zip(panel.queries, answers, strict=True)
        for each in found
    ]
    width, height = panel.width * COLUMN - 22, HEIGHTS[panel.kind] * UNIT - 70
    if panel.kind == "states":
        return _states(panel, lines, width, height)
    return _plot(panel, lines, width, height) + _legend([name for name, _ in lines])


def _name(query: Query, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), query.legend)


def _values(series: Mapping[str, Any]) -> list[tuple[float, float]]:
    return [(float(at), float(value)) for at, value in series["values"]]


def _number(panel: Panel, value: float) -> str:
    bad = value >= panel.red_from if panel.red_from is not None else value < (panel.red_below or 0)
    return f'<div class="big" style="background:{COLOURS[4] if bad else COLOURS[2]}">{_text(value, panel.unit)}</div>'


def _table(panel: Panel, found: Sequence[Mapping[str, Any]]) -> str:
    if panel.across:
        rows: dict[str, dict[str, str]] = {}
        for each in found:
            labels = each["metric"]
            cells = rows.setdefault(labels[panel.columns[0]], {panel.columns[0]: labels[panel.columns[0]]})
            cells[labels[panel.across]] = _text(float(each["value"][1]), panel.unit)
        lines = list(rows.values())
    else:
        lines = [{**each["metric"], "Value": _text(float(each["value"][1]), panel.unit)} for each in found]
    head = "".join(f"<th>{escape(name)}</th>" for name in panel.columns)
    cells_of = (["<td>" + escape(line.get(name, "")) + "</td>" for name in panel.columns] for line in lines)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in cells_of)
    return f"<table><tr>{head}</tr>{body}</table>"


def _states(panel: Panel, lines: Sequence[tuple[str, list[tuple[float, float]]]], width: int, height: int) -> str:
    rows = []
    for place, (name, values) in enumerate(lines):
        y, step = place * 30 + 10, (width - 190) / max(1, len(values))
        rows.append(f'<text x="0" y="{y + 14}">{escape(name)}</text>')
        for at, (_, value) in enumerate(values):
            colour = COLOURS[4] if value else COLOURS[2]
            rows.append(
                f'<rect x="{190 + at * step:.1f}" y="{y}" width="{step + 0.5:.1f}" height="20" fill="{colour}"/>'
            )
    return f'<svg width="{width}" height="{height}">{"".join(rows)}</svg>'


def _plot(panel: Panel, lines: Sequence[tuple[str, list[tuple[float, float]]]], width: int, height: int) -> str:
    times = sorted({at for _, values in lines for at, _ in values})
    shapes = list(_stacked(lines, times) if panel.kind == "stack" else _plain(lines))
    most = (
        1.0
        if panel.unit == "percentunit"
        else max((value for points in shapes for _, value in points), default=1.0) or 1.0
    )
    begin, span = times[0], (times[-1] - times[0]) or 1.0

    def placed(points: Sequence[tuple[float, float]]) -> str:
        inner = height - TOP - BOTTOM
        return " ".join(
            f"{LEFT + (at - begin) / span * (width - LEFT - 6):.1f},{TOP + inner * (1 - min(1.0, value / most)):.1f}"
            for at, value in points
        )

    parts = list(_grid(panel, most, width, height))
    for place, points in reversed(list(enumerate(shapes))):
        colour = COLOURS[place % len(COLOURS)]
        if panel.kind == "stack":
            parts.append(f'<polygon points="{placed([*points, (times[-1], 0), (begin, 0)])}" fill="{colour}"/>')
        else:
            parts += [
                f'<polyline points="{placed(part)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
                for part in _parts(points)
            ]
    return f'<svg width="{width}" height="{height}">{"".join(parts)}</svg>'


def _plain(lines: Sequence[tuple[str, list[tuple[float, float]]]]) -> Iterator[list[tuple[float, float]]]:
    for _, values in lines:
        yield [(at, value) for at, value in values if math.isfinite(value)]


def _parts(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Without a line where there is no value for a while."""
    part: list[tuple[float, float]] = []
    for point in points:
        if part and point[0] - part[-1][0] > GAP:
            yield part
            part = []
        part.append(point)
    yield part


def _stacked(
    lines: Sequence[tuple[str, list[tuple[float, float]]]], times: Sequence[float]
) -> Iterator[list[tuple[float, float]]]:
    """Each line on top of those before it."""
    below = dict.fromkeys(times, 0.0)
    for _, values in lines:
        for at, value in values:
            below[at] += value if math.isfinite(value) else 0.0
        yield [(at, below[at]) for at in times]


def _grid(panel: Panel, most: float, width: int, height: int) -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        y = TOP + (height - TOP - BOTTOM) * (1 - share)
        yield f'<line x1="{LEFT}" x2="{width - 6}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dde1e6"/>'
        yield f'<text x="{LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{escape(_text(share * most, panel.unit))}</text>'
    yield f'<text x="{LEFT}" y="{height - 4}">3 hours ago</text><text x="{width - 6}" y="{height - 4}" text-anchor="end">now</text>'


def _legend(names: Sequence[str]) -> str:
    shown = (
        f'<span><i style="background:{COLOURS[place % len(COLOURS)]}"></i>{escape(name)}</span>'
        for place, name in enumerate(names)
    )
    return f'<p class="legend">{" ".join(shown)}</p>'


def _text(value: float, unit: str) -> str:
    if unit == "bool_yes_no":
        return "Yes" if value else "No"
    if unit == "s":
        return "never" if value >= FOREVER else f"{1000 * value:.3g} ms" if 0 < value < 1 else duration(value)
    if unit == "bytes":
        return f"{value / 2**20:.1f} MiB"
    if unit == "percentunit":
        return f"{100 * value:.0f} %"
    suffix = {"rowsps": " rows/s", "reqps": " req/s"}.get(unit, unit.removeprefix("suffix:") if ":" in unit else "")
    return f"{value:,.0f}{suffix}" if value >= 10 or value == int(value) else f"{value:.2g}{suffix}"
