"""Lines of logs: readable on a terminal, as they are in a pipe, and one object a line for programs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_sweep.logs.lines import LogFormat, format_line, read_record, split_time

RECORD = {
    "time": "2026-03-01T12:00:00.123+00:00",
    "level": "warning",
    "logger": "kubesweep.worker",
    "message": "the queue is busy",
    "rows": 3,
}
LINE = json.dumps(RECORD)


def test_a_record_is_one_readable_line_with_date_and_zone() -> None:
    assert (
        format_line("carts-1", LINE, LogFormat.TEXT).plain
        == "carts-1 2026-03-01T12:00:00Z warning the queue is busy  rows=3"
    )


def test_a_traceback_is_below_its_record() -> None:
    text = format_line("", json.dumps(RECORD | {"exception": "Traceback:\n  line 1"}), LogFormat.TEXT).plain
    assert text.endswith("rows=3\n  exception:\n    Traceback:\n      line 1")


@pytest.mark.parametrize("line", ["plain text", "{}", '{"message": 1, "level": "info"}', "[1]", "{" * 2000, ""])
def test_other_lines_are_shown_as_they_are(line: str) -> None:
    assert format_line("p", line, LogFormat.TEXT).plain == f"p {line}"
    assert format_line("p", line, LogFormat.RAW).plain == f"p {line}"
    assert json.loads(format_line("p", line, LogFormat.JSON).plain) == {"pod": "p", "message": line}


def test_raw_and_json_lines_keep_the_record() -> None:
    assert format_line("p", LINE, LogFormat.RAW).plain == f"p {LINE}"
    assert json.loads(format_line("p", LINE, LogFormat.JSON).plain) == {"pod": "p", **RECORD}


@given(line=st.text(st.characters(blacklist_characters="\n")))
def test_any_line_can_be_shown(line: str) -> None:
    for how in LogFormat:
        format_line("p", line, how)
    read_record(line)


def test_the_kubelets_time_is_split_off() -> None:
    assert split_time("2026-03-01T12:00:00.123456789Z hello world") == (1772366400.123456, "hello world")
    assert split_time("2026-03-01T12:00:00Z ") == (1772366400.0, "")
    assert split_time("no time here") == (0.0, "no time here")
