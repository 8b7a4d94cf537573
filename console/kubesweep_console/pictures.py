"""Pictures as inline SVG. Colours come from the style sheet by class; no style attribute, which the pages forbid. Pure.

Every picture has a text that says the same, for readers who do not see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["Part", "rate_chart", "sparkline", "stacked_bar"]

SPARK_WIDTH, SPARK_HEIGHT = 88, 22
BAR_WIDTH, BAR_HEIGHT = 1000, 14
CHART_WIDTH, CHART_HEIGHT = 640, 140


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar. ``kind`` is a class of the style sheet."""

    kind: str
    size: int


def _svg(width: int, height: int, name: str, label: str, inside: str, *, stretch: bool = False) -> Markup:
    ratio = ' preserveAspectRatio="none"' if stretch else ""
    return Markup(
        f'<svg class="{name}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}"{ratio}>{inside}</svg>'
    )


def _points(values: Sequence[float], most: float, width: int, height: int) -> list[tuple[float, float]]:
    """The values from left to right, with 0 at the bottom, one pixel from each edge."""
    step = (width - 2) / max(1, len(values) - 1)
    most = most or 1.0
    return [
        (round(1 + at * step, 1), round(height - 1 - (height - 2) * value / most, 1)) for at, value in enumerate(values)
    ]


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def sparkline(values: Sequence[float], label: str) -> Markup:
    """A line without axes; empty for fewer than two values."""
    if len(values) < 2:
        return Markup()
    points = _points(values, max(values), SPARK_WIDTH, SPARK_HEIGHT)
    x, y = points[-1]
    inside = f'<polyline points="{_line(points)}"/><circle cx="{x:g}" cy="{y:g}" r="1.5"/>'
    return _svg(SPARK_WIDTH, SPARK_HEIGHT, "spark", label, inside)


def stacked_bar(parts: Sequence[Part], whole: int, label: str) -> Markup:
    """The parts of ``whole``, one after the other. The rest stays empty. Every part that is not empty is visible."""
    whole = max(whole, sum(part.size for part in parts))
    shown = [part for part in parts if part.size > 0]
    least = BAR_WIDTH / 200
    left, inside = 0.0, ""
    room = BAR_WIDTH - least * len(shown)
    for part in shown:
        width = least + room * part.size / whole
        inside += f'<rect class="{part.kind}" x="{left:.1f}" width="{width:.1f}" height="{BAR_HEIGHT}"/>'
        left += width
    return _svg(BAR_WIDTH, BAR_HEIGHT, "bar", label, inside, stretch=True)


def rate_chart(rates: Sequence[float], shares: Sequence[float | None], label: str) -> Markup:
    """Rows per second as a line, and behind it the share of the full speed that the database's health allows (0 to 1).

    Both have one value for each reading. Empty for fewer than two readings.
    """
    if len(rates) < 2:
        return Markup()
    full = [1.0 if share is None else share for share in shares]
    top = _points(full, 1.0, CHART_WIDTH, CHART_HEIGHT)
    floor = CHART_HEIGHT - 1
    area = f"{_line(top)} {top[-1][0]:g},{floor} {top[0][0]:g},{floor}"
    line = _line(_points(rates, max(rates) * 1.1, CHART_WIDTH, CHART_HEIGHT))
    inside = f'<polygon class="share" points="{area}"/><polyline points="{line}"/>'
    return _svg(CHART_WIDTH, CHART_HEIGHT, "chart", label, inside, stretch=True)
