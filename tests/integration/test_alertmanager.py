"""The configuration for Alertmanager that docs/notices.md shows, in a real Alertmanager that posts to a Slack of this test."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.kits.alertmanager import alertmanager, needs_alertmanager, shown_configuration, slack
from tests.kits.deadlines import scaled
from tests.kits.polling import eventually

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "charts" / "kubesweep" / "files" / "alerts.yaml"
pytestmark = needs_alertmanager


def rules() -> list[dict[str, Any]]:
    return [each for group in yaml.safe_load(ALERTS.read_text())["groups"] for each in group["rules"]]


def amtool(*words: str) -> str:
    done = subprocess.run(["amtool", *words], capture_output=True, text=True, check=False, timeout=scaled(60))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_is_valid_and_every_alert_of_the_chart_takes_its_route(tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yaml"
    config.write_text(shown_configuration())
    assert "SUCCESS" in amtool("check-config", str(config))

    def receiver_of(alert: str) -> str:
        return amtool("config", "routes", "test", f"--config.file={config}", f"alertname={alert}").strip()

    assert {receiver_of(rule["alert"]) for rule in rules()} == {"kubesweep"}
    assert receiver_of("Watchdog") == "others"


def post(address: str, alerts: list[dict[str, Any]]) -> None:
    request = urllib.request.Request(
        f"http://{address}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=scaled(10)) as answer:
        assert answer.status == 200


def test_slack_gets_one_message_for_each_schedule_with_what_to_type(tmp_path: Path) -> None:
    descriptions = {each["alert"]: each["annotations"] for each in rules()}
    labels = [
        {"alertname": "KubesweepSweepOverdue", "namespace": "shop", "schedule": "carts", "severity": "warning"},
        {"alertname": "KubesweepSweepOverdue", "namespace": "shop", "schedule": "logs", "severity": "warning"},
        {"alertname": "KubesweepQueueDown", "namespace": "kubesweep-system", "job": "ks", "severity": "critical"},
        {"alertname": "Watchdog", "namespace": "monitoring"},
    ]
    alerts = [{"labels": each, "annotations": descriptions.get(each["alertname"], {})} for each in labels]
    with slack() as chat, alertmanager(tmp_path, chat.url) as address:
        post(address, alerts)
        eventually("three messages are posted", 60, lambda: len(chat.titles) >= 3)
    assert chat.titles.keys() == {
        "firing: KubesweepSweepOverdue shop/carts",
        "firing: KubesweepSweepOverdue shop/logs",
        "firing: KubesweepQueueDown kubesweep-system/",
    }
    text = chat.titles["firing: KubesweepQueueDown kubesweep-system/"]
    assert "No sweep starts or continues until Redis responds" in text
    assert text.rstrip().endswith("/docs/runbooks/queue-down.md")
