"""The exported metrics, parsed as Prometheus parses them."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from kubesweep.errors import Outage
from kubesweep.queue.model import Settlement, SweepState
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.conditions.reasons import ConditionType
from tests.kits.controller import START, ScheduleSimulation, failed, retry
from tests.unit.controller.test_backlog_status import falling_behind
from tests.unit.controller.test_status import throttled

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "charts" / "kubesweep" / "files" / "alerts.yaml"


class Scraped:
    def __init__(self, metrics: Metrics) -> None:
        self.families = list(text_string_to_metric_families(metrics.text().decode()))
        self.samples = [sample for family in self.families for sample in family.samples]

    def get(self, name: str, **labels: str) -> float | None:
        found = [one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items()]
        assert len(found) <= 1
        return found[0] if found else None


async def observe(metrics: Metrics, sim: ScheduleSimulation) -> None:
    observation = await sim.observation()
    metrics.observe(observation, build_status(observation))
    await sim.reconcile()


async def test_a_schedule_has_its_numbers_under_its_namespace_and_name(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    await sim.ready()
    claim = await sim.start(5, START)
    await sim.settle(Settlement(claim, applied=2, skipped=1, retry=retry("7"), dead=failed("8")))
    await sim.tick(START)
    await observe(metrics, sim)
    seen = Scraped(metrics)
    who = {"namespace": "support", "schedule": "close-idle"}
    expected = {
        ("kubesweep_queue_jobs", "state", "delayed"): 1,
        ("kubesweep_queue_jobs", "state", "ready"): 0,
        ("kubesweep_ticks_total", "answer", "enqueued"): 1,
        ("kubesweep_ticks_total", "answer", "duplicate"): 1,
        ("kubesweep_last_sweep_rows", "outcome", "planned"): 5,
        ("kubesweep_last_sweep_rows", "outcome", "dead"): 1,
        ("kubesweep_last_sweep_state", "state", "Completed"): 1,
        ("kubesweep_last_sweep_state", "state", "Running"): 0,
        ("kubesweep_schedule_condition", "type", "Ready"): 1,
        ("kubesweep_schedule_condition", "type", "Degraded"): 1,
    }
    assert {key: seen.get(key[0], **who, **{key[1]: key[2]}) for key in expected} == expected
    assert seen.get("kubesweep_dead_letters", **who) == 1
    assert seen.get("kubesweep_excluded_rows", **who) == 2
    assert seen.get("kubesweep_last_tick_timestamp_seconds", **who) == START
    assert seen.get("kubesweep_last_success_timestamp_seconds", **who) == START
    assert seen.get("kubesweep_oldest_ready_timestamp_seconds", **who) is None
    assert seen.get("kubesweep_queue_up") == 1


async def test_during_an_outage_of_the_queue_its_last_numbers_stay(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    await sim.dead_letter("1")
    await observe(metrics, sim)
    sim.outage = Outage("QueueUnreachable", "cannot be reached")
    await observe(metrics, sim)
    seen = Scraped(metrics)
    assert (seen.get("kubesweep_dead_letters"), seen.get("kubesweep_queue_up")) == (1, 0)


def test_whether_the_queue_responds_is_absent_until_it_is_known() -> None:
    metrics = Metrics()
    assert Scraped(metrics).get("kubesweep_queue_up") is None
    for up in (False, True):
        metrics.queue_responds(up)
        assert Scraped(metrics).get("kubesweep_queue_up") == up


async def test_a_sweep_that_the_queue_lost_is_lost_here_too(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    await sim.start(1)
    await observe(metrics, sim)
    await sim.flush()
    await observe(metrics, sim)
    assert Scraped(metrics).get("kubesweep_last_sweep_state", state="Lost") == 1


async def test_a_schedule_that_is_gone_leaves_no_series(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    await sim.dead_letter("1")
    await observe(metrics, sim)
    metrics.forget("support", "close-idle")
    assert [one for one in Scraped(metrics).samples if "schedule" in one.labels] == []


async def test_no_label_can_grow_without_bounds(sim: ScheduleSimulation) -> None:
    """Labels must be bounded: an error class, a key or a message would create a series each."""
    metrics = Metrics()
    await sim.dead_letter("1", "2", error="Some error with the number 4711")
    await observe(metrics, sim)
    allowed = {"namespace", "schedule", "state", "answer", "outcome", "type", "reason", "le", "version", "component"}
    assert {name for one in Scraped(metrics).samples for name in one.labels} <= allowed
    assert b"4711" not in metrics.text()
    states = {one.labels["state"] for one in Scraped(metrics).samples if one.name == "kubesweep_last_sweep_state"}
    types = {one.labels["type"] for one in Scraped(metrics).samples if one.name == "kubesweep_schedule_condition"}
    assert (states, types) == (set(SweepState), set(ConditionType))


async def test_rows_add_up_over_sweeps_and_the_latest_tick_has_its_delay(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    await observe(metrics, sim)
    for number, rows in enumerate((5, 7)):
        sim.wait(300)
        await sim.sweep(rows, tick=sim.clock.now - 12.5 * number)
        await observe(metrics, sim)
        await observe(metrics, sim)
    seen = Scraped(metrics)
    assert seen.get("kubesweep_rows_total", namespace="support", schedule="close-idle", outcome="applied") == 12
    assert seen.get("kubesweep_rows_total", outcome="dead") == 0
    assert seen.get("kubesweep_last_tick_delay_seconds") == 12.5


async def test_the_backlog_is_exported_and_never_is_infinity(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    await observe(metrics, sim)
    assert Scraped(metrics).get("kubesweep_backlog_rows") is None
    await falling_behind(sim)
    await observe(metrics, sim)
    seen = Scraped(metrics)
    expected = {"rows": 400, "oldest_timestamp_seconds": START + 3600, "empty_timestamp_seconds": math.inf}
    assert {name: seen.get(f"kubesweep_backlog_{name}") for name in expected} == expected
    assert seen.get("kubesweep_backlog_inflow_rows_per_second") == pytest.approx(200 / 3600)
    assert seen.get("kubesweep_backlog_outflow_rows_per_second") == pytest.approx(100 / 3600)
    sim.outage = Outage("QueueUnreachable", "cannot be reached")
    await observe(metrics, sim)
    assert Scraped(metrics).get("kubesweep_backlog_rows") == 400


async def test_the_age_of_a_row_that_only_dry_runs_see_is_not_exported(sim: ScheduleSimulation) -> None:
    """No sweep will finish it, so it would be overdue for ever."""
    metrics = Metrics()
    await falling_behind(sim)
    observation = await sim.observation()
    assert observation.stats is not None
    assert observation.stats.sweep is not None
    sweep = msgspec.structs.replace(observation.stats.sweep, mode="DryRun")
    stats = msgspec.structs.replace(observation.stats, sweep=sweep)
    dry = replace(observation, stats=stats)
    metrics.observe(dry, build_status(dry))
    seen = Scraped(metrics)
    assert dry.backlog is not None
    assert dry.backlog.oldest is not None
    assert seen.get("kubesweep_backlog_rows") == dry.backlog.rows
    assert seen.get("kubesweep_backlog_oldest_timestamp_seconds") is None


async def test_labels_are_escaped(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    observation = await sim.observation()
    meta = {**observation.body["metadata"], "name": 'a\\b"c\nd'}
    metrics.observe(replace(observation, body={**observation.body, "metadata": meta}), build_status(observation))
    assert Scraped(metrics).get("kubesweep_dead_letters", schedule='a\\b"c\nd') == 0


async def test_numbers_that_cannot_be_exported_fail_their_own_schedule_only(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    await observe(metrics, sim)
    sim.body["metadata"]["name"] = "broken"
    observation = await sim.observation()
    metrics.observe(observation, {**build_status(observation), "lastSweep": {"applied": "many"}})
    seen = Scraped(metrics)
    assert seen.get("kubesweep_dead_letters", schedule="close-idle") == 0
    assert seen.get("kubesweep_dead_letters", schedule="broken") is None
    assert seen.get("kubesweep_reconcile_errors_total", reason="ValueError") == 1


def test_the_version_is_exported() -> None:
    seen = Scraped(Metrics())
    assert seen.get("kubesweep_build_info", component="controller", version=version("kubesweep")) == 1


async def test_a_crash_loop_and_the_tick_before_the_latest_one_are_exported(sim: ScheduleSimulation) -> None:
    metrics = Metrics()
    await sim.reconcile()
    await observe(metrics, sim)
    before = Scraped(metrics)
    assert before.get("kubesweep_crash_loop", schedule="close-idle") == 0
    assert before.get("kubesweep_previous_tick_timestamp_seconds") is None
    sim.wait(620)
    sim.child(crash_loop=True)
    await observe(metrics, sim)
    after = Scraped(metrics)
    assert after.get("kubesweep_crash_loop", schedule="close-idle") == 1
    assert after.get("kubesweep_previous_tick_timestamp_seconds", schedule="close-idle") == START + 300


@pytest.mark.parametrize(("throttle", "ratio"), [("", 0.0), ("500", 0.0), ("pause", None), ("off", None)])
async def test_a_signal_that_slows_a_sweep_down_is_exported_also_beside_a_rate_of_a_person(
    sim: ScheduleSimulation, throttle: str, ratio: float | None
) -> None:
    metrics = Metrics()
    await sim.ready()
    await sim.start(1)
    await sim.queue.report(sim.ref, throttled(sim, 0.0, "ReplayLag", "4.1 s"))
    sim.annotate("throttle", throttle)
    await observe(metrics, sim)
    assert Scraped(metrics).get("kubesweep_throttle_ratio", reason="ReplayLag") == ratio


def test_reconciles_are_timed_and_their_errors_counted() -> None:
    metrics = Metrics()
    metrics.reconciled(0.02)
    metrics.reconciled(1.5, "Outage")
    metrics.leading(True)
    seen = Scraped(metrics)
    assert seen.get("kubesweep_reconcile_duration_seconds_count") == 2
    assert seen.get("kubesweep_reconcile_errors_total", reason="Outage") == 1
    assert seen.get("kubesweep_leader") == 1


@pytest.fixture
async def names(sim: ScheduleSimulation) -> set[str]:
    """Every series that can exist."""
    metrics = Metrics()
    await sim.start(1)
    sim.wait(420)
    metrics.reconciled(0.1, "Outage")
    await observe(metrics, sim)
    await observe(metrics, sim)
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in Scraped(metrics).families}


async def test_the_page_lists_every_metric_and_no_other(names: set[str]) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    listed = set(re.findall(r"^\| `(kubesweep_(?!worker_)[a-z_]+)`", page, re.MULTILINE))
    assert listed == {name for name in names if not name.endswith("_created")}


async def test_alerts_ask_for_metrics_that_exist_and_each_has_its_runbook(names: set[str]) -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert len(rules) >= 8
    for rule in rules:
        asked = set(re.findall(r"\bkubesweep_[a-z_]+", rule["expr"]))
        assert asked
        assert asked <= names, rule["alert"]
        assert {"summary", "description", "runbook_url"} <= rule["annotations"].keys()
        page = rule["annotations"]["runbook_url"].rpartition("/docs/runbooks/")[2]
        text = (ROOT / "docs" / "runbooks" / page).read_text()
        assert text.startswith(f"# {rule['alert']}\n")
    pages = {rule["annotations"]["runbook_url"].rpartition("/")[2] for rule in rules}
    assert {file.name for file in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README.md"} == pages
