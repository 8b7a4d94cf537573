"""A real Prometheus scrapes a release with three schedules: one keeps up, one falls behind, one has a handler that fails.

Metrics, the queries of the dashboard, the alerts, the console and the messages that Alertmanager posts show that.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.testbed import REPOSITORY
from tests.kits.alertmanager import AVAILABLE, Slack, alertmanager, needs_alertmanager, slack
from tests.kits.browser import chromium, needs_chromium
from tests.kits.conversations_app import ConversationsApp
from tests.kits.kube_client import Cluster
from tests.kits.polling import eventually
from tests.kits.prometheus import Prometheus, Series, discover, prometheus, scrape_configs
from tests.kits.three_schedules import BEHIND, FAILING, WELL, begin, three_schedules

pytestmark = pytest.mark.bed  # Prometheus runs in the network of the node

CHART = REPOSITORY / "charts" / "kubesweep"
OLDEST = "kubesweep_backlog_oldest_timestamp_seconds"
DASHBOARD: dict[str, Any] = json.loads((CHART / "files" / "dashboard.json").read_text())
PANELS = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
MONITORS = {"metrics.serviceMonitor.enabled": "true", "metrics.podMonitor.enabled": "true"}


@dataclass(frozen=True)
class Scene:
    app: ConversationsApp
    server: Prometheus
    chat: Slack
    since: float

    def values(self, query: str) -> dict[str, float]:
        """The newest value of a query by the schedule that it is about."""
        return {each["metric"].get("schedule", ""): float(each["value"][1]) for each in self.server.instant(query)}

    def filled_in(self, query: str) -> str:
        """A query of the dashboard with the values of its variables."""
        values = {"release": self.app.release.name, "namespace": self.app.namespace.name, "schedule": ".*"}
        values["__rate_interval"] = "15s"
        return re.sub(r"\$(\w+)", lambda found: values[found[1]], query)

    def answer(self, target: dict[str, Any]) -> list[Series]:
        """The answer that Grafana gets. A number that replaces a missing one is left out of the query."""
        query = self.filled_in(target["expr"]).removesuffix(" or vector(0)")
        return (
            self.server.instant(query)
            if target.get("instant")
            else self.server.range(query, self.since, time.time(), 5)
        )


def rules() -> dict[str, Any]:
    """The chart's alerts with short delays."""
    text = (CHART / "files" / "alerts.yaml").read_text()
    assert " offset 15m" in text
    read: dict[str, Any] = yaml.safe_load(text.replace(" offset 15m", " offset 10s"))
    for rule in (rule for group in read["groups"] for rule in group["rules"]):
        rule["for"] = "10s"
    return read


@pytest.fixture(scope="module")
def scene(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with three_schedules(cluster) as app, ExitStack() as stack:
        folder = tmp_path_factory.mktemp("prometheus")
        discover(folder, app.namespace)
        chat = stack.enter_context(slack())
        addresses = [stack.enter_context(alertmanager(folder, chat.url))] if AVAILABLE else []
        scrapes = scrape_configs(app.release.rendered(MONITORS))
        server = stack.enter_context(prometheus(folder, scrapes, rules(), addresses))
        since = time.time()
        begin(app)
        app.until_condition(BEHIND, "KeepingUp", "False", patience=400)
        yield Scene(app, server, chat, since)


def test_every_pod_is_scraped(scene: Scene) -> None:
    def scraped() -> set[str]:
        return {each["labels"]["container"] for each in scene.server.targets() if each["health"] == "up"}

    eventually("controller and workers are scraped", 60, lambda: scraped() == {"controller", "worker"})


def test_the_metrics_show_which_schedule_keeps_up(scene: Scene) -> None:
    def empty() -> dict[str, bool]:
        found = scene.values("kubesweep_backlog_empty_timestamp_seconds")
        return {name: value < float("inf") for name, value in found.items()}

    eventually("one keeps up, the other does not", 120, lambda: {WELL: True, BEHIND: False}.items() <= empty().items())
    rates = {name: scene.values(f"kubesweep_backlog_{name}_rows_per_second") for name in ("inflow", "outflow")}
    assert rates["inflow"][BEHIND] > rates["outflow"][BEHIND]
    assert rates["inflow"][WELL] < rates["outflow"][WELL]
    eventually("a stale row has an age", 120, lambda: BEHIND in scene.values(f"time() - {OLDEST} > 10"))
    assert not scene.values(f"time() - {OLDEST} > 10").keys() - {BEHIND}


def test_the_controllers_and_the_workers_counts_agree_on_what_happened(scene: Scene) -> None:
    for metric in ("kubesweep_rows_total", "kubesweep_worker_rows_total"):
        dead = scene.values(f'sum by (schedule) ({metric}{{outcome="dead"}})')
        assert dead[FAILING] > 0
        assert {dead.get(WELL, 0), dead.get(BEHIND, 0)} == {0}
    applied = scene.values('sum by (schedule) (kubesweep_worker_rows_total{outcome="applied"})')
    assert applied[WELL] > 0
    assert applied[BEHIND] > 0
    assert applied.get(FAILING, 0) == 0


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"].replace(" ", "-"))
def test_each_query_of_the_dashboard_returns_data(scene: Scene, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        eventually(f"{panel['title']}: {target['expr']}", 120, partial(scene.answer, target))


def test_the_numbers_at_the_top_of_the_dashboard_count_the_schedules_with_a_problem(scene: Scene) -> None:
    def number(title: str) -> float:
        [panel] = [each for each in PANELS if each["title"] == title]
        [target] = panel["targets"]
        [series] = scene.server.instant(scene.filled_in(target["expr"]))
        return float(series["value"][1])

    assert number("Schedules that fall behind") == 1
    assert number("Schedules with a problem") >= 1
    assert number("Dead letters") > 0
    assert number("Queue responds") == number("Controller leads") == 1


def test_the_variables_of_the_dashboard_have_values(scene: Scene) -> None:
    expected = {"release": {"ks"}, "namespace": {scene.app.namespace.name}, "schedule": {WELL, BEHIND, FAILING}}
    found = {}
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, _, label = (
                variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
            )
            found[label] = set(scene.server.label_values(label, scene.filled_in(metric)))
    assert found == expected


@needs_chromium
def test_the_console_of_the_controller_shows_the_same_in_a_browser(scene: Scene, tmp_path: Path) -> None:
    problems = {BEHIND: ("Falling behind",), FAILING: ("Dead letters", "Failed")}
    service = f"service/{scene.app.release.fullname}-console"
    with scene.app.namespace.forwarded(service, 80) as port, chromium(tmp_path) as browser:
        browser.open(f"http://127.0.0.1:{port}/")

        def states() -> dict[str, str]:
            rows = [each.text.split("\n")[0] for each in browser.all("tbody tr")]
            return {row.split()[0]: row for row in rows}

        def shown() -> bool:
            found = states()
            return all(any(label in found[name] for label in labels) for name, labels in problems.items())

        browser.until(shown, "the two schedules with a problem have it as their state")
        assert not any(label in states()[WELL] for labels in problems.values() for label in labels)
        assert browser.violations() == []
        for name, verdict in ((WELL, "keeps up"), (BEHIND, "falls behind")):
            browser.open(f"http://127.0.0.1:{port}/schedules/{scene.app.namespace.name}/{name}")
            browser.until_text(verdict)
        assert browser.errors() == []


EXPECTED = {
    ("KubesweepFallingBehind", BEHIND),
    ("KubesweepSweepOverdue", BEHIND),
    ("KubesweepThrottled", BEHIND),
    ("KubesweepDeadLettersGrowing", FAILING),
}
POSSIBLE = {("KubesweepSweepFailed", FAILING)}  # a sweep in which too many rows fail is Halted, if it has enough rows


def test_alerts_fire_for_the_schedules_with_a_problem_and_for_no_other(scene: Scene) -> None:
    def fired() -> set[tuple[str, str]]:
        """All alerts since the beginning."""
        found = scene.server.range('ALERTS{alertstate="firing"}', scene.since, time.time(), 1)
        assert all(each["metric"]["release"] == scene.app.release.name for each in found)
        return {(each["metric"]["alertname"], each["metric"].get("schedule", "")) for each in found}

    def fires(alert: tuple[str, str]) -> bool:
        return alert in fired()

    for alert in sorted(EXPECTED):
        eventually(f"{alert} fires", 120, partial(fires, alert))
    assert fired() - EXPECTED <= POSSIBLE


@needs_alertmanager
def test_slack_gets_a_message_about_each_schedule_with_a_problem_and_about_no_other(scene: Scene) -> None:
    namespace = scene.app.namespace.name
    expected = {f"firing: {alert} {namespace}/{schedule}" for alert, schedule in EXPECTED}
    eventually("every alert is posted", 120, lambda: expected <= scene.chat.titles.keys())
    assert not [title for title in scene.chat.titles if title.endswith(f"/{WELL}")]
