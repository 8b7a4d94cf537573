"""Times as the terminal shows them."""

from __future__ import annotations

import time

import pytest

from kubesweep_cli.views.formatting import cutoff_time, local_time


@pytest.mark.parametrize("zone", ["UTC", "America/Sao_Paulo"])
@pytest.mark.parametrize("text", ["2027-01-15 08:00:00.25+00", "2027-01-15 08:00:00", "2027-01-15T08:00:00Z"])
def test_a_cutoff_is_shown_in_the_zone_of_the_other_times(
    monkeypatch: pytest.MonkeyPatch, zone: str, text: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert cutoff_time(text) == local_time(1_800_000_000)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (cutoff_time(None), cutoff_time("soon")) == ("-", "soon")
