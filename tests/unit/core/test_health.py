"""spec.source.health: what users write, and the limits that follow."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from kubesweep.api.compile import compile_plan
from kubesweep.api.models.health import AUTO, Health
from kubesweep.api.models.spec import SweepSchedule
from kubesweep.queue.model import HealthLimits, Pace, parse_pace, to_json
from tests.unit.core.spec_files import schedule


def limits(**given: Any) -> HealthLimits:
    return Health.model_validate(given).limits


def test_auto_has_documented_limits_and_a_limit_beside_it_replaces_one() -> None:
    assert limits(auto=True) == AUTO == HealthLimits(replay_lag=2.0, oldest_xmin=600.0, lock_waits=5.0, yields=True)
    assert limits(auto=True, lockWaits=50) == msgspec.structs.replace(AUTO, lock_waits=50.0)
    assert limits(auto=True, replayLag="30s").replay_lag == 30.0


def test_a_sweep_with_an_effect_does_not_yield() -> None:
    written = schedule()
    written["spec"]["source"]["health"] = {"auto": True}
    assert compile_plan(SweepSchedule.model_validate(written)).source.health == AUTO
    written["spec"]["effect"] = {"webhook": {"url": "https://shop.example/hook"}}
    without = msgspec.structs.replace(AUTO, yields=False)
    assert compile_plan(SweepSchedule.model_validate(written)).source.health == without


def test_without_auto_only_what_is_given_counts() -> None:
    assert limits(replayLag="500ms") == HealthLimits(replay_lag=0.5)
    assert limits(pauseOnVacuum=True) == HealthLimits(pause_on_vacuum=True)
    given = limits(query={"sql": "SELECT 1", "limit": 3}, whenUnknown="Continue")
    assert given == HealthLimits(query="SELECT 1", query_limit=3.0, continue_when_unknown=True)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"auto": False},
        {"pauseOnVacuum": False},
        {"whenUnknown": "Pause"},
        {"lockWaits": 0},
        {"oldestXmin": "2d"},
        {"query": {"sql": "SELECT 1"}},
        {"query": {"sql": "SELECT 1", "limit": 0}},
        {"replayLag": 2},
        {"whenUnknown": "Stop"},
    ],
)
def test_what_has_no_meaning_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Health.model_validate(given)


def test_a_pace_keeps_the_limits_and_off_ignores_them() -> None:
    pace = Pace.of(5.0, "", health=AUTO)
    assert parse_pace(to_json(pace)) == pace
    assert pace.enforced_health == AUTO
    assert Pace.of(5.0, "20", health=AUTO).enforced_health == AUTO
    off = Pace.of(5.0, "off", health=AUTO)
    assert (off.health, off.enforced_health, off.rate) == (AUTO, None, None)


def test_a_pace_of_before_the_health_can_be_read() -> None:
    assert parse_pace('{"rows_per_second":5.0,"rate":5.0}') == Pace.of(5.0)
