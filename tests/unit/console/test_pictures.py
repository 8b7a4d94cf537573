"""Pictures are valid SVG without styles, and each says in words what it shows."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from kubesweep_console.pictures import Part, rate_chart, sparkline, stacked_bar
from tests.kits.console import HOSTILE

values = st.lists(st.floats(0, 1e12), min_size=2, max_size=200)


def parsed(picture: Markup, label: str) -> ElementTree.Element:
    root = ElementTree.fromstring(str(picture))
    assert (root.get("role"), root.get("aria-label")) == ("img", label)
    assert "style" not in str(picture)
    return root


@given(values)
def test_a_sparkline_stays_inside_its_frame(found: list[float]) -> None:
    root = parsed(sparkline(found, "rows"), "rows")
    line = root.find("polyline")
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in str(line.get("points")).split()]
    assert len(points) == len(found)
    assert all(0 <= x <= 88 and 0 <= y <= 22 for x, y in points)


@given(values)
def test_a_rate_chart_has_a_line_and_the_share(found: list[float]) -> None:
    shares = [None if value < 1 else 0.5 for value in found]
    root = parsed(rate_chart(found, shares, "rates"), "rates")
    assert [each.tag for each in root] == ["polygon", "polyline"]


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=5))
def test_every_part_of_a_bar_is_visible(sizes: list[int]) -> None:
    root = parsed(stacked_bar([Part("applied", size) for size in sizes], max(1, sum(sizes)), "bar"), "bar")
    assert len(root) == sum(size > 0 for size in sizes)
    assert all(float(str(each.get("width"))) >= 5 for each in root)


def test_a_label_is_escaped() -> None:
    assert "<script" not in sparkline([1, 2], HOSTILE)
    assert "<script" not in stacked_bar([Part("dead", 1)], 1, HOSTILE)


def test_too_few_values_make_no_picture() -> None:
    assert (sparkline([1], ""), rate_chart([1], [None], "")) == (Markup(), Markup())
