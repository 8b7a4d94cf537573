"""Which sweep to open, and when: the rules that the command line and the controller share."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep import scheduling
from kubesweep.api.compile import compile_plan
from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.plan import Plan
from kubesweep.queue.model import PlanVersion, ScheduleRef, Stats, Sweep, SweepState
from kubesweep.scheduling import Activation, activation, arrival_limit, due, missed
from kubesweep.ticks import Cron, Every

TIMES = st.floats(0, 4e9, allow_nan=False)
PERIODS = st.integers(1, 86_400_000).map(lambda milliseconds: Every(milliseconds / 1000))


@pytest.fixture
def plan() -> Plan:
    schedule = SweepSchedule.model_validate(
        {
            "apiVersion": "kubesweep.dev/v1alpha1",
            "kind": "SweepSchedule",
            "metadata": {"name": "close-carts", "generation": 3},
            "spec": {
                "every": "60s",
                "source": {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, "table": "carts"},
                "match": [{"column": "status", "in": ["open"]}],
                "write": {"update": [{"column": "status", "value": "abandoned"}]},
                "deadLetters": {"retention": "30d"},
            },
        }
    )
    return compile_plan(schedule, uid="u", install="local")


def a_sweep(name: str, version: PlanVersion, state: SweepState = SweepState.RUNNING) -> Sweep:
    return Sweep(id=name, tick=1.0, plan=version, state=state)


def test_of_all_missed_ticks_only_the_latest_is_due() -> None:
    assert due(Every(60.0), now=1000.0, since=0.0) == 960.0
    assert due(Every(60.0), now=1000.0, since=960.0) is None
    assert due(Every(60.0), now=1000.0, since=0.0, last=900.0) == 960.0
    assert due(Every(60.0), now=1000.0, since=0.0, last=960.0) is None


@given(PERIODS, TIMES, TIMES, TIMES)
def test_a_due_tick_is_the_latest_and_is_due_once(ticks: Every, now: float, since: float, last: float) -> None:
    tick = due(ticks, now=now, since=since, last=last)
    if tick is None:
        assert ticks.latest(now) <= max(since, last)
        return
    assert max(since, last) < tick <= now < ticks.next(tick)
    assert due(ticks, now=now, since=since, last=tick) is None


@given(PERIODS, TIMES, TIMES, st.floats(60, 600))
def test_a_missed_tick_had_its_whole_time_to_arrive(ticks: Every, now: float, since: float, limit: float) -> None:
    tick = missed(ticks, now=now, limit=limit, since=since, last=None)
    assert tick is None or since < tick <= now - limit
    if tick is not None:
        assert missed(ticks, now=now, limit=limit, since=since, last=tick) is None


def test_a_tick_is_not_missed_where_the_cluster_reads_the_expression_otherwise() -> None:
    cron = Cron("*/5 * * * *")
    assert missed(cron, now=1000.0, limit=60.0, since=0.0, last=None) == 900.0
    assert missed(cron, now=1000.0, limit=60.0, since=0.0, last=None, fired=600.0) == 900.0
    assert missed(cron, now=1000.0, limit=60.0, since=0.0, last=None, fired=660.0) is None
    assert missed(cron, now=1000.0, limit=60.0, since=660.0, last=None, fired=660.0) == 900.0


def test_the_deadline_is_the_time_that_a_tick_has_to_arrive() -> None:
    assert (arrival_limit(None), arrival_limit(600.0), arrival_limit(1.0)) == (120.0, 600.0, 60.0)


def test_an_activation_lasts_until_the_ticks_change() -> None:
    first = activation(Every(60.0), None, 1000.0)
    assert first == Activation("every 60s", 1000.0)
    assert activation(Every(60.0), first, 2000.0) is first
    assert activation(Every(61.0), first, 2000.0) == Activation("every 61s", 2000.0)


def test_a_sweep_is_lost_where_the_queue_has_it_neither_as_the_latest_nor_in_its_history(plan: Plan) -> None:
    one, other = a_sweep("one", plan.version), a_sweep("other", plan.version)
    assert scheduling.is_lost("one", Stats())
    assert scheduling.is_lost("one", Stats(known=True, sweep=other))
    assert not scheduling.is_lost("one", Stats(known=True, sweep=other, history=(one,)))
    assert not scheduling.is_lost("one", Stats(known=True, sweep=one))


def test_each_request_carries_the_plan(plan: Plan) -> None:
    requests = (
        scheduling.sweep_request(plan, 60.0, deadline=10.0),
        scheduling.trigger_request(plan, "a", 61.0),
        scheduling.recovery_request(plan, "lost", 61.0),
        scheduling.edit_request(plan, a_sweep("old", PlanVersion(2, "older")), 61.0),
    )
    for request in requests:
        assert request is not None
        assert (request.plan, request.mode, request.retention) == (plan.version, plan.mode, 30 * 86400.0)


def test_only_a_tick_is_ever_late(plan: Plan) -> None:
    assert scheduling.sweep_request(plan, 60.0, deadline=10.0).deadline == 10.0
    assert scheduling.trigger_request(plan, "a", 61.0).deadline is None
    assert scheduling.recovery_request(plan, "lost", 61.0).deadline is None


def test_equal_causes_are_one_sweep_and_different_causes_are_two(plan: Plan) -> None:
    old = a_sweep("old", PlanVersion(2, "older"))
    first = (
        scheduling.trigger_request(plan, "a", 61.0),
        scheduling.recovery_request(plan, "a", 61.0),
        scheduling.edit_request(plan, old, 61.0),
        scheduling.trigger_request(plan, "b", 61.0),
        scheduling.recovery_request(plan, "b", 61.0),
    )
    again = (
        scheduling.repeat_request(a_sweep("x", plan.version), "a", 99.0),
        scheduling.recovery_request(plan, "a", 99.0),
        scheduling.edit_request(plan, old, 99.0),
        scheduling.trigger_request(plan, "b", 99.0),
        scheduling.recovery_request(plan, "b", 99.0),
    )
    ids = [one.sweep_id(plan.ref) for one in first if one is not None]
    assert len(set(ids)) == 5
    assert ids == [one.sweep_id(plan.ref) for one in again if one is not None]


@pytest.mark.parametrize("other", [{"install": "inst0002"}, {"uid": "8b5f6f0e-0000-4000-8000-000000000002"}], ids=str)
def test_one_cause_is_another_sweep_of_another_schedule(plan: Plan, other: dict[str, str]) -> None:
    ref = ScheduleRef("inst0001", "default", "carts", "8b5f6f0e-0000-4000-8000-000000000001")
    request = scheduling.trigger_request(plan, "a", 61.0)
    assert request.sweep_id(ref) == request.sweep_id(ref)
    assert request.sweep_id(ref) != request.sweep_id(msgspec.structs.replace(ref, **other))


def test_no_tick_is_due_before_the_first_of_cron() -> None:
    assert due(Cron("0 0 29 2 *"), now=86400.0, since=0.0) is None


def test_without_the_file_no_dead_letter_is_purged_early(plan: Plan) -> None:
    sweep = msgspec.structs.replace(a_sweep("x", plan.version), mode="DryRun")
    request = scheduling.repeat_request(sweep, "a", 61.0)
    assert (request.plan, request.mode) == (plan.version, "DryRun")
    assert request.retention > 365 * 86400.0


def test_an_edit_replaces_only_an_unfinished_sweep_of_an_older_plan(plan: Plan) -> None:
    assert scheduling.edit_request(plan, None, 61.0) is None
    assert scheduling.edit_request(plan, a_sweep("same", plan.version), 61.0) is None
    assert scheduling.edit_request(plan, a_sweep("newer", PlanVersion(4, "newer")), 61.0) is None
    settled = a_sweep("settled", PlanVersion(2, "older"), SweepState.COMPLETED)
    assert scheduling.edit_request(plan, settled, 61.0) is None


def test_product_code_builds_sweep_requests_only_here() -> None:
    root = Path(__file__).parents[3]
    files = [
        file for part in ("core", "cli", "console", "worker", "controller") for file in (root / part).rglob("*.py")
    ]
    builders = {file.name for file in files if re.search(r"(?<!class )\bSweepRequest\(", file.read_text())}
    assert builders == {"scheduling.py"}
