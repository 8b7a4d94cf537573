"""What a schedule that falls behind is advised to change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubesweep.queue.model import THROTTLE, Finding, Pace, SweepState
from tests.unit.core.test_backlog import CAPPED, HOUR, PLAN, START, a_sweep, keeping_up, stats_of


@pytest.mark.parametrize(
    ("changes", "fields", "words"),
    [
        ({"state": SweepState.HALTED}, {}, "did not complete"),
        ({}, {"pace": Pace.of(None, "0.02")}, "kubesweep.dev/throttle"),
        ({}, {"pace": Pace.of(100 / HOUR)}, "limits.maxRowsPerSweep"),
    ],
)
def test_the_most_direct_limit_is_named(changes: dict[str, Any], fields: dict[str, Any], words: str) -> None:
    latest = msgspec.structs.replace(CAPPED[-1], **changes)
    assert words in keeping_up(stats_of([*CAPPED[:-1], latest], **fields), START + 3 * HOUR).message


def test_the_health_of_the_database_is_named_while_it_slows_the_sweep_down() -> None:
    running = a_sweep(3, START + 3 * HOUR, 600, state=SweepState.RUNNING, applied=10, finished=None)
    now = START + 4 * HOUR
    lag = Finding(THROTTLE, False, "ReplayLag", "25 %: replay lag 1.6 s", PLAN, now - 1)
    rating = keeping_up(stats_of([*CAPPED, running], findings=(lag,)), now)
    assert "(ReplayLag): relieve it, or raise the limit in source.health" in rating.message
    active = Finding(THROTTLE, False, "ActiveSessions", "10 %: 1 other session uses the database", PLAN, now - 1)
    rating = keeping_up(stats_of([*CAPPED, running], findings=(active,)), now)
    assert (
        "(ActiveSessions): raise worker.maxReplicas, or name the limits of source.health without auto" in rating.message
    )
