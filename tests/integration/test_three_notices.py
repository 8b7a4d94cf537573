"""Three schedules: one keeps up, one falls behind, one has rows that die. Slack gets a message about each of the last two, and about no other.

The metrics are the controller's, the rules are the chart's with short delays, Prometheus and Alertmanager are Debian's.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.status.build_status import build_status
from tests.integration.test_alertmanager import ALERTS
from tests.kits.alertmanager import Slack, alertmanager, needs_alertmanager, slack
from tests.kits.controller import Clock, ScheduleSimulation
from tests.kits.polling import eventually
from tests.kits.prometheus import Prometheus, prometheus
from tests.unit.controller.test_backlog_status import YEARLY, falling_behind, hourly

pytestmark = [
    needs_alertmanager,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="needs Debian's prometheus"),
]


class Schedules:
    """One controller's metrics about several schedules, each with a queue of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.metrics = folder, Metrics()
        self.sims: dict[str, ScheduleSimulation] = {}
        self.metrics.leading(True)

    async def add(self, name: str) -> ScheduleSimulation:
        clock = Clock()
        sim = self.sims[name] = ScheduleSimulation(SqliteQueue(str(self.folder / f"{name}.db"), clock=clock), clock)
        sim.edit(schedule=YEARLY)
        await sim.ready()
        return sim

    async def observe(self) -> None:
        for name, sim in self.sims.items():
            await sim.reconcile()
            observation = await sim.observation()
            metadata = {**sim.body["metadata"], "namespace": "shop", "name": name}
            self.metrics.observe(
                replace(observation, body={**observation.body, "metadata": metadata}), build_status(observation)
            )

    @contextmanager
    def served(self) -> Iterator[str]:
        """Host and port."""
        metrics = self.metrics

        class Endpoint(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = metrics.text()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture
async def schedules(tmp_path: Path) -> AsyncIterator[Schedules]:
    made = Schedules(tmp_path)
    well = await made.add("well")
    for _ in range(3):
        await hourly(well, 120)
    await falling_behind(await made.add("behind"))
    await made.add("failing")
    await made.observe()
    yield made
    for sim in made.sims.values():
        await sim.queue.close()


@contextmanager
def watched(folder: Path, target: str) -> Iterator[tuple[Prometheus, Slack]]:
    """What scrapes this controller, and where its alerts arrive."""
    rules = yaml.safe_load(ALERTS.read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule["for"] = "1s"
    labels = {"namespace": "kubesweep-system", "job": "kubesweep-metrics"}
    scrape = {"job_name": "kubesweep-metrics", "honor_labels": True}
    scrape |= {"static_configs": [{"targets": [target], "labels": labels}]}
    with (
        slack() as chat,
        alertmanager(folder, chat.url) as address,
        prometheus(folder, [scrape], rules, [address]) as server,
    ):
        yield server, chat


async def test_slack_gets_the_truth_about_each_schedule(schedules: Schedules, tmp_path: Path) -> None:
    with schedules.served() as target, watched(tmp_path, target) as (server, chat):

        def known() -> bool:
            return len(server.instant("kubesweep_dead_letters == 0")) == 3

        await asyncio.to_thread(eventually, "all schedules were scraped without a dead letter", 60, known)
        await schedules.sims["failing"].dead_letter("1", "2")
        await schedules.observe()
        await asyncio.to_thread(eventually, "two messages are posted", 60, lambda: len(chat.titles) >= 2)
    assert chat.titles.keys() == {
        "firing: KubesweepFallingBehind shop/behind",
        "firing: KubesweepDeadLettersGrowing shop/failing",
    }
    assert "kubectl get sweepschedule behind -n shop" in chat.titles["firing: KubesweepFallingBehind shop/behind"]
    assert "kubectl describe sweepschedule failing -n shop" in "".join(chat.titles.values())
