"""The configuration for Alertmanager that docs/notices.md shows, in a real Alertmanager that posts to a Slack of this test."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientError, ClientSession, web

from tests.integration.receivers import receiver
from tests.kits.deadlines import scaled
from tests.kits.polling import until
from tests.kits.servers import free_port

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "charts" / "kubesweep" / "files" / "alerts.yaml"
PROGRAMS = ("amtool", "prometheus-alertmanager")
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)), reason="needs Debian's prometheus-alertmanager: docs/testing.md"
)


def shown() -> str:
    """The block of the page."""
    page = (ROOT / "docs" / "notices.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n(route:\n.*?)```", page, re.DOTALL)
    return str(found)


def rules() -> list[dict[str, Any]]:
    return [each for group in yaml.safe_load(ALERTS.read_text())["groups"] for each in group["rules"]]


def amtool(*words: str) -> str:
    done = subprocess.run(["amtool", *words], capture_output=True, text=True, check=False, timeout=scaled(60))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(folder: Path, changes: dict[str, str]) -> Path:
    """The block as a file, with other texts in some places."""
    text = shown()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file = folder / "alertmanager.yaml"
    file.write_text(text)
    return file


def test_the_configuration_is_valid_and_every_alert_of_the_chart_takes_its_route(tmp_path: Path) -> None:
    config = written(tmp_path, {})
    assert "SUCCESS" in amtool("check-config", str(config))

    def receiver_of(alert: str) -> str:
        return amtool("config", "routes", "test", f"--config.file={config}", f"alertname={alert}").strip()

    assert {receiver_of(rule["alert"]) for rule in rules()} == {"kubesweep"}
    assert receiver_of("Watchdog") == "others"


class Slack:
    """What was posted."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.posts.append(json.loads(await request.text()))
        return web.Response(text="ok")

    async def titles(self) -> dict[str, str]:
        """The text by its title."""
        attachments = [one for post in self.posts for one in post["attachments"]]
        return {each["title"]: each["text"] for each in attachments}


def configured(folder: Path, url: str) -> Path:
    (folder / "url").write_text(url)
    return written(folder, {"group_wait: 30s": "group_wait: 100ms", "/etc/alertmanager/slack/url": str(folder / "url")})


async def post(address: str, alerts: list[dict[str, Any]]) -> bool:
    try:
        async with ClientSession() as session, session.post(f"{address}/api/v2/alerts", json=alerts) as answer:
            return answer.status == 200
    except ClientError:
        return False


async def test_slack_gets_one_message_for_each_schedule_with_what_to_type(tmp_path: Path) -> None:
    slack = Slack()
    descriptions = {each["alert"]: each["annotations"] for each in rules()}
    labels = [
        {"alertname": "KubesweepSweepOverdue", "namespace": "shop", "schedule": "carts", "severity": "warning"},
        {"alertname": "KubesweepSweepOverdue", "namespace": "shop", "schedule": "logs", "severity": "warning"},
        {"alertname": "KubesweepQueueDown", "namespace": "kubesweep-system", "job": "ks", "severity": "critical"},
        {"alertname": "Watchdog", "namespace": "monitoring"},
    ]
    alerts = [{"labels": each, "annotations": descriptions.get(each["alertname"], {})} for each in labels]
    async with receiver(slack.answer) as address:
        # The page waits half a minute for alerts of the same group, and reads the URL from a mounted Secret.
        config = configured(tmp_path, f"{address}/services/T000")
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=error",
        )  # fmt: skip
        try:

            async def posted() -> bool:
                assert process.returncode is None
                return await post(f"http://127.0.0.1:{port}", alerts)

            await until(posted)

            async def delivered() -> bool:
                return len(await slack.titles()) >= 3

            await until(delivered)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
    found = await slack.titles()
    assert found.keys() == {
        "firing: KubesweepSweepOverdue shop/carts",
        "firing: KubesweepSweepOverdue shop/logs",
        "firing: KubesweepQueueDown kubesweep-system/",
    }
    text = found["firing: KubesweepQueueDown kubesweep-system/"]
    assert "No sweep starts or continues until Redis responds" in text
    assert text.rstrip().endswith("/docs/runbooks/queue-down.md")
