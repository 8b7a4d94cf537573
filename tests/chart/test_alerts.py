"""Alerts and metrics as Prometheus sees them, by its own promtool."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import yaml

from kubesweep.queue.sqlite import SqliteQueue
from kubesweep_controller.metrics import Metrics
from tests.chart.rendering import CHART, HOUSE
from tests.controller_kit import Clock, House

ALERTS = CHART / "files" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts.yaml")


@cache
def promtool() -> str:
    """The program, built where it is missing."""
    build = HOUSE / "tests" / "cluster" / "build"
    subprocess.run([build, "promtool"], check=True, stdout=subprocess.DEVNULL)
    paths = subprocess.run([build, "--paths"], check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in paths.splitlines())["promtool"]


def ask(*words: str, stdin: str = "") -> str:
    done = subprocess.run([promtool(), *words], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    assert "SUCCESS" in ask("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))


def test_each_alert_fires_when_it_should_and_not_when_it_should_not(tmp_path: Path) -> None:
    rules = {rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
    cases = CASES.read_text()
    tried = {
        check["alertname"]
        for case in yaml.safe_load(cases)["tests"]
        for check in case["alert_rule_test"]
        if check.get("exp_alerts")
    }
    assert tried == rules
    file = tmp_path / "alerts.yaml"
    file.write_text(cases.replace("[ALERTS]", f"[{ALERTS}]"))
    assert "SUCCESS" in ask("test", "rules", str(file))


async def test_prometheus_finds_nothing_to_say_about_the_metrics(tmp_path: Path) -> None:
    clock = Clock()
    queue = SqliteQueue(str(tmp_path / "queue.db"), clock=clock)
    house, metrics = House(queue, clock), Metrics()
    await house.ready()
    await house.bury("1")
    house.wait(420)
    status = await house.look()
    metrics.observe(await house.facts(), status)
    metrics.reconciled(0.1, "Outage")
    assert ask("check", "metrics", stdin=metrics.text().decode()) == ""
    await queue.close()
