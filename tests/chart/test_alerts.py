"""Alerts and metrics, checked by Prometheus's promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_controller.metrics import Metrics
from tests.chart.rendering import CHART, ROOT, Object, one, render
from tests.chart.scraping import scraped, target_labels, through_monitor
from tests.kits.controller import Clock, ScheduleSimulation

ALERTS = CHART / "files" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts.yaml")
MONITORED = ("metrics.serviceMonitor.enabled=true", "metrics.prometheusRule.enabled=true")


@cache
def promtool() -> str:
    """The path of Debian's promtool; it is compiled where there is none, which takes minutes."""
    if found := shutil.which("promtool"):
        return found
    build = ROOT / "tests" / "cluster" / "build"
    subprocess.run([build, "promtool"], check=True, stdout=subprocess.DEVNULL)
    paths = subprocess.run([build, "--paths"], check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in paths.splitlines())["promtool"]


def run_promtool(*words: str, stdin: str = "") -> str:
    done = subprocess.run([promtool(), *words], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS" in run_promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))


def test_each_alert_fires_on_its_condition_only(tmp_path: Path) -> None:
    """The rules are those of the PrometheusRule, the series those of a scrape through the ServiceMonitor."""
    objects = render("default", *MONITORED)
    rules = one(objects, "PrometheusRule")["spec"]
    cases = yaml.safe_load(CASES.read_text())
    checks = [check for case in cases["tests"] for check in case["alert_rule_test"]]
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert {check["alertname"] for check in checks if check.get("exp_alerts")} == names
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    file = tmp_path / "cases.yaml"
    tests = [through_monitor(case, objects) for case in cases["tests"]]
    file.write_text(yaml.safe_dump({**cases, "rule_files": ["rules.yaml"], "tests": tests}))
    assert "SUCCESS" in run_promtool("test", "rules", str(file))


def test_each_alert_is_silent_for_a_schedule_that_is_as_it_should_be() -> None:
    """Each case also has series that must not fire, or a time at which the alert must not fire yet."""
    cases = yaml.safe_load(CASES.read_text())["tests"]
    silent = {
        check["alertname"]
        for case in cases
        for check in case["alert_rule_test"]
        if not check.get("exp_alerts") or len(check["exp_alerts"]) < len(schedules(case))
    }
    fired = {check["alertname"] for case in cases for check in case["alert_rule_test"] if check.get("exp_alerts")}
    assert fired - silent == set()


def schedules(case: dict[str, Any]) -> set[str]:
    """The schedules of a case. Series of the controller itself count by their reason."""
    return set(re.findall(r'(?:schedule|reason)="([^"]+)"', " ".join(each["series"] for each in case["input_series"])))


async def test_promtool_reports_no_problem_with_the_metrics(tmp_path: Path) -> None:
    clock = Clock()
    queue = SqliteQueue(str(tmp_path / "queue.db"), clock=clock)
    sim, metrics = ScheduleSimulation(queue, clock), Metrics()
    await sim.ready()
    await sim.dead_letter("1")
    sim.wait(420)
    status = await sim.reconcile()
    metrics.observe(await sim.observation(), status)
    metrics.reconciled(0.1, "Outage")
    assert run_promtool("check", "metrics", stdin=metrics.text().decode()) == ""
    await queue.close()


LATE = 300  # minutes


async def observe(sim: ScheduleSimulation, metrics: Metrics, namespace: str, **children: Any) -> None:
    """Observe the metrics of one reconcile, as if the schedule were ``carts`` in that namespace."""
    sim.child(**children)
    status = await sim.reconcile()
    observation = await sim.observation()
    metadata = {**sim.body["metadata"], "namespace": namespace, "name": "carts"}
    metrics.observe(replace(observation, body={**observation.body, "metadata": metadata}), status)


def input_series(samples: Iterable[tuple[str, float]], shape: str) -> list[dict[str, str]]:
    return [{"series": name, "values": shape.format(value=value)} for name, value in samples]


def promtool_result(tmp_path: Path, rules: Object, inputs: list[dict[str, str]], checks: list[dict[str, Any]]) -> str:
    """Run promtool with these expectations and return its output."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]))
    case = {"interval": "1m", "input_series": inputs, "alert_rule_test": checks}
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [case]}))
    return run_promtool("test", "rules", str(file))


def expected(rules: Object, alert: str, **labels: str) -> dict[str, Any]:
    [rule] = [each for group in rules["spec"]["groups"] for each in group["rules"] if each["alert"] == alert]
    texts = dict(rule["annotations"])
    for name, value in labels.items():
        texts = {key: text.replace("{{ $labels." + name + " }}", value) for key, text in texts.items()}
    return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": texts}


@pytest.mark.parametrize("suspended_first", [True, False])
async def test_alerts_distinguish_schedules_of_one_name_in_two_namespaces(
    tmp_path: Path, suspended_first: bool
) -> None:
    """One is suspended and one is not Ready: they do not affect each other, and the alert has the schedule's namespace."""
    clock = Clock()
    queue = SqliteQueue(str(tmp_path / "queue.db"), clock=clock)
    sim, metrics = ScheduleSimulation(queue, clock), Metrics()
    not_ready, suspended = ("b", "a") if suspended_first else ("a", "b")
    await observe(sim, metrics, not_ready)
    sim.edit(suspend=True)
    await observe(sim, metrics, suspended)
    metrics.leading(True)
    await queue.close()
    objects = render("default", *MONITORED)
    rules, samples = one(objects, "PrometheusRule"), list(scraped(objects, metrics))
    labels = {"namespace": not_ready, "schedule": "carts", "type": "Ready"}
    alert = expected(rules, "KubesweepNotReady", **labels)
    target = target_labels(objects, "")
    alert["exp_labels"] = {key: target[key] for key in target.keys() - {"instance", "pod"}} | alert["exp_labels"]
    checks: list[dict[str, Any]] = [
        {"alertname": "KubesweepNotReady", "eval_time": "20m", "exp_alerts": [alert]},
        {"alertname": "KubesweepControllerDown", "eval_time": "20m"},
        {"alertname": "KubesweepQueueDown", "eval_time": "20m"},
    ]
    assert "SUCCESS" in promtool_result(tmp_path, rules, input_series(samples, "{value}x30"), checks)


def test_a_release_without_a_schedule_raises_no_alert(tmp_path: Path) -> None:
    """With or without an answer of the queue: nothing asks it but a probe."""
    objects = render("default", *MONITORED)
    rules = one(objects, "PrometheusRule")
    alerts = [rule["alert"] for group in rules["spec"]["groups"] for rule in group["rules"]]
    checks: list[dict[str, Any]] = [{"alertname": each, "eval_time": "60m"} for each in alerts]
    for answered in (False, True):
        metrics = Metrics()
        metrics.leading(True)
        if answered:
            metrics.queue_responds(True)
        inputs = input_series(scraped(objects, metrics), "{value}x90")
        assert "SUCCESS" in promtool_result(tmp_path, rules, inputs, checks)


@pytest.mark.parametrize("second", [{"namespace": "ks-two"}, {"namespace": "ks-one", "release": "other"}])
@pytest.mark.parametrize("shape", ["{value}x300", "{value}x5 _x300"], ids=["does not lead", "is gone"])
async def test_a_healthy_release_does_not_hide_the_alerts_of_another(
    tmp_path: Path, second: dict[str, str], shape: str
) -> None:
    without_leader, healthy = Metrics(), Metrics()
    clock = Clock()
    queue = SqliteQueue(str(tmp_path / "queue.db"), clock=clock)
    await observe(ScheduleSimulation(queue, clock), healthy, "shop")
    await queue.close()
    healthy.leading(True)
    without_leader.queue_responds(False)
    mine, theirs = render("default", *MONITORED, namespace="ks-one"), render("default", *MONITORED, **second)
    inputs = input_series(scraped(mine, without_leader), shape) + input_series(scraped(theirs, healthy), "{value}x300")
    rules, others = one(mine, "PrometheusRule"), one(theirs, "PrometheusRule")
    release = {"namespace": "ks-one", "job": "ks-kubesweep-metrics"}
    down = [expected(rules, "KubesweepControllerDown", **release)]
    later = [
        {"alertname": "KubesweepControllerDown", "eval_time": f"{minutes}m", "exp_alerts": down}
        for minutes in (20, LATE)
    ]
    assert "SUCCESS" in promtool_result(tmp_path, rules, inputs, later)
    queue_down = {
        "alertname": "KubesweepQueueDown",
        "eval_time": "4m",
        "exp_alerts": [expected(rules, "KubesweepQueueDown", **release)],
    }
    assert "SUCCESS" in promtool_result(tmp_path, others, inputs, [later[0], queue_down])


def test_the_command_of_an_alert_about_a_schedule_fits_every_schedule() -> None:
    """One with ``every`` has no CronJob."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    texts = [rule["annotations"]["description"] for group in groups for rule in group["rules"]]
    about_cron = [text for text in texts if "describe cronjob" in text]
    assert about_cron
    assert all("describe sweepschedule" in text and "with spec.schedule, kubectl" in text for text in about_cron)
