"""The series that Prometheus stores when it scrapes a controller through the chart's ServiceMonitor.

They have the labels of the controller's exposition and of the operator's target, merged by the rule of ``honor_labels``.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    return {"namespace": home, "job": name, "service": name, **instance}


def scraped(objects: list[Object], metrics: Metrics, pod: str = "kubesweep-0") -> Iterator[tuple[str, float]]:
    """Series and value of each sample."""
    [endpoint] = one(objects, "ServiceMonitor")["spec"]["endpoints"]
    target = target_labels(objects, pod)
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            yield series(sample.name, merge(sample.labels, target, honor=endpoint["honorLabels"])), sample.value


def merge(own: dict[str, str], target: dict[str, str], *, honor: bool) -> dict[str, str]:
    if honor:
        return target | own
    return {f"exported_{key}" if key in target else key: value for key, value in own.items()} | target


def series(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inside}}}"
