"""Tables on narrow terminals: columns move below the name, then each row becomes a block. No word is cut to two letters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from kubesweep.queue.model import ErrorGroup, ScheduleRef, Stats
from kubesweep_cli.views import formatting
from kubesweep_cli.views.dead_letter_table import group_table
from kubesweep_cli.views.listing import Column, listing
from kubesweep_cli.views.result_table import result_table
from kubesweep_cli.views.status_table import status_table
from tests.unit.cli.test_presentation import DONE, NOON, text_of

COLUMNS = (Column("name", flexible=True), Column("state", below=True), Column("rows", number=True, footer="12"))
ROWS = [[Text("close-abandoned-carts"), Text("AwaitingApproval"), Text("1,234,567")]]
REF = ScheduleRef.local("default", "process-idle-conversations")
LONG = ErrorGroup("CarrierRefused", 7, "the carrier refuses the number of this customer", 0.0, 0.0, (("42",), ("43",)))


def test_a_wide_terminal_has_one_line_for_each_row() -> None:
    lines = text_of(listing(COLUMNS, ROWS, 100)).splitlines()
    assert any(line.split() == ["close-abandoned-carts", "AwaitingApproval", "1,234,567"] for line in lines)


def test_columns_move_below_the_name_before_anything_is_stacked() -> None:
    lines = [line.rstrip() for line in text_of(listing(COLUMNS, ROWS, 40), width=40).splitlines()]
    assert "   AwaitingApproval" in lines
    assert any(line.split() == ["close-abandoned-carts", "1,234,567"] for line in lines)


def test_a_narrow_terminal_has_a_block_for_each_row_and_the_totals() -> None:
    text = text_of(listing(COLUMNS, ROWS, 30), width=30)
    assert [line.split() for line in text.splitlines() if line.strip()] == [
        ["close-abandoned-carts"],
        ["state", "AwaitingApproval"],
        ["rows", "1,234,567"],
        ["rows", "12"],
    ]


def test_an_empty_cell_is_left_out_of_a_block() -> None:
    assert "state" not in text_of(listing(COLUMNS, [[Text("a"), Text(), Text("1")]], 5), width=24)


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=8),
    st.text("abc-", min_size=1, max_size=60),
    st.integers(30, 160),
)
def test_no_number_is_ever_split(numbers: list[int], name: str, width: int) -> None:
    columns = (Column("name", flexible=True), *(Column(f"n{place}", number=True) for place, _ in enumerate(numbers)))
    row = [Text(name), *(Text(f"{number:,}") for number in numbers)]
    words = text_of(listing(columns, [row], width), width=width).split()
    assert all(f"{number:,}" in words for number in numbers)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_every_table_keeps_its_times_and_words_whole(width: int) -> None:
    stats = Stats(known=True, sweep=DONE, last_tick=NOON, ready=3, running=2, oldest_ready=NOON)
    status = text_of(status_table([REF], [stats], NOON + 60, width=width), width=width)
    assert {"Completed", "2026-03-01", formatting.local_time(NOON).split()[1]} <= set(status.split())
    result = text_of(result_table([(REF.name, DONE)], width=width), width=width)
    assert {"1,000", "900"} <= set(result.split())
    groups = text_of(group_table([(REF, [LONG])], width), width=width)
    assert "CarrierRefused" in groups
    for text in (status, result, groups):
        assert max(len(line) for line in text.splitlines()) <= width
