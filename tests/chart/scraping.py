"""The series that Prometheus stores when it scrapes a controller through the chart's ServiceMonitor, or a worker through its PodMonitor.

They have the labels of the exposition and of the operator's target, with the chart's relabelling, merged by the rule of ``honor_labels``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from kubesweep_controller.metrics import Metrics
from tests.chart.rendering import Object, one


def target_labels(objects: list[Object], pod: str) -> dict[str, str]:
    """The target labels of one pod of the Service, as the operator's relabelling sets them."""
    monitor = one(objects, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    [service] = [o for o in objects if o["kind"] == "Service" and wanted <= o["metadata"]["labels"].items()]
    home, name = service["metadata"]["namespace"], service["metadata"]["name"]
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [home]}
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    instance = {"instance": f"{pod}:8080", "pod": pod, "container": "controller", "endpoint": endpoint["port"]}
    added = relabelled(endpoint, meta_labels("service", service["metadata"]["labels"]))
    return {"namespace": home, "job": name, "service": name, **instance, **added}


def meta_labels(role: str, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of an object as Prometheus' discovery has them."""
    return {f"__meta_kubernetes_{role}_label_{re.sub('[^A-Za-z0-9_]', '_', key)}": text for key, text in labels.items()}


def relabelled(endpoint: Mapping[str, Any], meta: Mapping[str, str]) -> dict[str, str]:
    """What the endpoint's relabelings add that copy a label."""
    copies = [each for each in endpoint["relabelings"] if each.keys() == {"sourceLabels", "targetLabel"}]
    return {each["targetLabel"]: meta[each["sourceLabels"][0]] for each in copies}


def worker_target(objects: list[Object], pod: Mapping[str, Any], namespace: str) -> dict[str, str]:
    """The target labels of a worker's pod (a pod template) that the PodMonitor selects in this namespace."""
    spec = one(objects, "PodMonitor")["spec"]
    labels = pod["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert spec["namespaceSelector"].get("any") or namespace in spec["namespaceSelector"]["matchNames"]
    [endpoint] = spec["podMetricsEndpoints"]
    [container] = [
        each
        for each in pod["spec"]["containers"]
        if endpoint["port"] in [port["name"] for port in each.get("ports") or ()]
    ]
    added = relabelled(endpoint, meta_labels("pod", labels))
    return {"namespace": namespace, "container": container["name"], "endpoint": endpoint["port"], **added}


def scraped(objects: list[Object], metrics: Metrics, pod: str = "kubesweep-0") -> Iterator[tuple[str, float]]:
    """Series and value of each sample."""
    [endpoint] = one(objects, "ServiceMonitor")["spec"]["endpoints"]
    target = target_labels(objects, pod)
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            yield series(sample.name, merge(sample.labels, target, honor=endpoint["honorLabels"])), sample.value


def through_monitor(case: dict[str, Any], objects: list[Object]) -> dict[str, Any]:
    """A test of promtool with the labels of a scrape: on each input series, and on the alerts about a schedule."""

    def scraped_series(text: str) -> str:
        name, _, labels = text.partition("{")
        own = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        target = target_labels(objects, own.pop("pod", "kubesweep-0"))
        return series(name, merge(own, target, honor=endpoint["honorLabels"]))

    [endpoint] = one(objects, "ServiceMonitor")["spec"]["endpoints"]
    kept = {key: value for key, value in target_labels(objects, "").items() if key not in ("instance", "pod")}
    inputs = [{**each, "series": scraped_series(each["series"])} for each in case["input_series"]]
    checks = [dict(check) for check in case["alert_rule_test"]]
    for check in checks:
        check["exp_alerts"] = [
            {
                **alert,
                "exp_labels": kept | alert["exp_labels"] if "schedule" in alert["exp_labels"] else alert["exp_labels"],
            }
            for alert in check.get("exp_alerts", ())
        ]
    return {**case, "input_series": inputs, "alert_rule_test": checks}


def merge(own: dict[str, str], target: dict[str, str], *, honor: bool) -> dict[str, str]:
    if honor:
        return target | own
    return {f"exported_{key}" if key in target else key: value for key, value in own.items()} | target


def series(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inside}}}"
