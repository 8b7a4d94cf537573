"""The PodMonitor selects the workers' pods that the controller builds, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from kubesweep_controller.settings import from_environment
from kubesweep_worker.metrics.exposition import exposition
from tests.chart.rendering import environment, kinds, one, render
from tests.chart.scraping import worker_target
from tests.chart.test_alerts import run_promtool
from tests.unit.controller.test_children import cronjob, deployment
from tests.unit.worker.test_exposition import snapshot

ENABLED = "metrics.podMonitor.enabled=true"
NEEDED = {"POD_NAMESPACE": "kubesweep-system", "POD_NAME": "kubesweep-0"}


def pods_of(objects: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The templates of a worker and of a producer that this release's controller makes."""
    settings = from_environment({**environment(objects), **NEEDED}).pods
    tick = cronjob(settings)["spec"]["jobTemplate"]["spec"]["template"]
    return deployment(settings)["spec"]["template"], tick


def test_it_is_off_by_default() -> None:
    assert kinds(render(), "PodMonitor") == []


@pytest.mark.parametrize(
    "sets", [(), ("watchNamespaces={shop,support}",), ("namespaced=true",)], ids=["all", "two", "its own"]
)
def test_it_selects_the_workers_of_its_release_in_the_served_namespaces(sets: tuple[str, ...]) -> None:
    objects = render("default", ENABLED, *sets, release="sweeper", namespace="support")
    worker, producer = pods_of(objects)
    target = worker_target(objects, worker, "support")
    expected = {"namespace": "support", "container": "worker", "endpoint": "metrics", "release": "sweeper"}
    assert target == expected
    assert producer["metadata"]["labels"]["app.kubernetes.io/component"] == "producer"
    with pytest.raises(AssertionError):
        worker_target(objects, producer, "support")


def test_it_does_not_select_the_workers_of_another_release() -> None:
    objects = render("default", ENABLED, release="one")
    other, _ = pods_of(render("default", ENABLED, release="two"))
    with pytest.raises(AssertionError):
        worker_target(objects, other, "support")


def test_namespaces_that_are_not_served_are_not_selected() -> None:
    objects = render("default", ENABLED, "watchNamespaces={shop}")
    with pytest.raises(AssertionError):
        worker_target(objects, pods_of(objects)[0], "support")


def test_promtool_reports_no_problem_with_the_metrics_that_it_scrapes() -> None:
    assert run_promtool("check", "metrics", stdin=exposition([snapshot()]).decode()) == ""


def test_its_values_are_rendered() -> None:
    json = (
        'metrics={"podMonitor": {"enabled": true, "namespace": "monitoring", "labels": {"prometheus": "main"}, "interval": "5s", '
        '"scrapeTimeout": "4s", "relabelings": [{"action": "labeldrop", "regex": "pod"}], '
        '"metricRelabelings": [{"action": "drop", "regex": "x", "sourceLabels": ["__name__"]}]}}'
    )
    found = one(render(json=json), "PodMonitor")
    assert (found["metadata"]["name"], found["metadata"]["namespace"]) == ("ks-kubesweep-worker", "monitoring")
    assert found["metadata"]["labels"]["prometheus"] == "main"
    [endpoint] = found["spec"]["podMetricsEndpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"], endpoint["honorLabels"]) == ("5s", "4s", True)
    assert endpoint["relabelings"][1:] == [{"action": "labeldrop", "regex": "pod"}]
    assert endpoint["metricRelabelings"] == [{"action": "drop", "regex": "x", "sourceLabels": ["__name__"]}]
