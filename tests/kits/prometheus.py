"""A real Prometheus that scrapes a release through its ServiceMonitor and PodMonitor.

``scrape_configs`` makes what the Prometheus operator makes of such objects: the targets that they select, the operator's labels, then the object's own
relabelings. Debian's Prometheus has no discovery of Kubernetes, so ``discover`` writes the targets with the labels that it would have. The server runs in
the network of the test, from which it reaches the pods.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.kits.deadlines import scaled
from tests.kits.kube_client import Namespace, Object
from tests.kits.polling import eventually
from tests.kits.servers import free_port

Series = dict[str, Any]  # {"metric": {label: text}, "value" or "values": ...}


@dataclass(frozen=True)
class Prometheus:
    """Asks a server. Times are seconds since the epoch."""

    port: int

    def instant(self, query: str) -> list[Series]:
        """The series of a query now."""
        found: list[Series] = self._get("query", query=query)["result"]
        return found

    def range(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """The series of a query between two times."""
        within = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found: list[Series] = self._get("query_range", query=query, **within)["result"]
        return found

    def label_values(self, label: str, metric: str) -> list[str]:
        found: list[str] = self._get(f"label/{label}/values", **{"match[]": metric})
        return found

    def alerts(self) -> list[Object]:
        """The alerts that are pending or firing."""
        found: list[Object] = self._get("alerts")["alerts"]
        return found

    def targets(self) -> list[Object]:
        found: list[Object] = self._get("targets", state="active")["activeTargets"]
        return found

    def _get(self, path: str, **words: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=scaled(30)) as answer:
            return json.load(answer)["data"]


@contextmanager
def prometheus(
    folder: Path, scrapes: list[Object], rules: Object, alertmanagers: Sequence[str] = ()
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes and evaluates the rules once a second, until the end. ``alertmanagers``: host and port of each."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    interval = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": interval, "rule_files": ["rules.yaml"], "scrape_configs": scrapes}
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            eventually("Prometheus is ready", 60, lambda: _ready(process, port, folder / "log"))
            yield Prometheus(port)
        finally:
            process.terminate()


def _ready(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=scaled(10)) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def discover(folder: Path, namespace: Namespace) -> None:
    """Write the pods of a namespace, and its Services with their pods, as targets."""
    pods = [each for each in namespace.all("v1 Pod") if each["status"].get("podIP")]
    ports = [port for pod in pods for port in _ports(pod)]
    (folder / "pod.json").write_text(json.dumps([{"targets": [address], "labels": meta} for address, meta, _ in ports]))
    served = []
    for service in namespace.all("v1 Service"):
        wanted = (service["spec"].get("selector") or {"none": ""}).items()
        meta = _meta("service", service["metadata"])
        for port in service["spec"]["ports"]:
            name = f"{_META}endpointslice_port_name"
            served += [
                {"targets": [address], "labels": {**pod_meta, **meta, name: port.get("name", "")}}
                for address, pod_meta, pod in ports
                if wanted <= pod["metadata"]["labels"].items()
                if port["targetPort"] in (pod_meta[f"{_META}pod_container_port_name"], int(address.rpartition(":")[2]))
            ]
    (folder / "endpointslice.json").write_text(json.dumps(served))


_META = "__meta_kubernetes_"


def _ports(pod: Object) -> Iterator[tuple[str, dict[str, str], Object]]:
    """Address, labels and pod of each port of its containers."""
    meta = {**_meta("pod", pod["metadata"]), f"{_META}namespace": pod["metadata"]["namespace"]}
    meta[f"{_META}pod_phase"] = pod["status"]["phase"]
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            own = {"name": container["name"], "port_name": port.get("name", "")}
            named = {f"{_META}pod_container_{key}": value for key, value in own.items()}
            yield f"{pod['status']['podIP']}:{port['containerPort']}", meta | named, pod


def _meta(what: str, metadata: Object) -> dict[str, str]:
    labels = {_label(name): value for name, value in (metadata.get("labels") or {}).items()}
    made = {f"{_META}{what}_label_{name}": value for name, value in labels.items()}
    present = {f"{_META}{what}_labelpresent_{name}": "true" for name in labels}
    return made | present | {f"{_META}{what}_name": metadata["name"]}


def scrape_configs(objects: list[Object]) -> list[Object]:
    """The configuration of each ServiceMonitor and PodMonitor among the objects of a rendered chart."""
    monitors = [each for each in objects if each["kind"] in ("ServiceMonitor", "PodMonitor")]
    return [
        _scrape_config(each, endpoint)
        for each in monitors
        for endpoint in each["spec"].get("endpoints") or each["spec"]["podMetricsEndpoints"]
    ]


def _scrape_config(monitor: Object, endpoint: Object) -> Object:
    by_service = monitor["kind"] == "ServiceMonitor"
    spec, home = monitor["spec"], monitor["metadata"]["namespace"]
    relabelings = [*_selected(spec["selector"], "service" if by_service else "pod")]
    chosen = spec.get("namespaceSelector", {"matchNames": [home]})
    if not chosen.get("any"):
        names = "|".join(chosen["matchNames"])
        relabelings.append({"source_labels": ["__meta_kubernetes_namespace"], "regex": names, "action": "keep"})
    relabelings += _targets(endpoint["port"], by_service)
    if by_service:
        relabelings.append(_copy("__meta_kubernetes_service_name", "job"))
    else:
        relabelings.append({"target_label": "job", "replacement": f"{home}/{monitor['metadata']['name']}"})
    relabelings.append({"target_label": "endpoint", "replacement": endpoint["port"]})
    return {
        "job_name": f"{monitor['kind']}/{home}/{monitor['metadata']['name']}",
        "metrics_path": endpoint.get("path", "/metrics"),
        "honor_labels": endpoint.get("honorLabels", False),
        "file_sd_configs": [{"files": ["endpointslice.json" if by_service else "pod.json"]}],
        "relabel_configs": relabelings + [_snake(each) for each in endpoint.get("relabelings", ())],
        "metric_relabel_configs": [_snake(each) for each in endpoint.get("metricRelabelings", ())],
    }


def _selected(selector: Object, what: str) -> Iterator[Object]:
    """Keep the targets whose Service or pod has the labels."""
    assert not selector.keys() - {"matchLabels", "matchExpressions"}
    for name, value in selector.get("matchLabels", {}).items():
        source = f"__meta_kubernetes_{what}_label_{_label(name)}"
        yield {"source_labels": [source], "regex": re.escape(value), "action": "keep"}
    for each in selector.get("matchExpressions", ()):
        label = _label(each["key"])
        operator, present = each["operator"], f"__meta_kubernetes_{what}_labelpresent_{label}"
        if operator in ("Exists", "DoesNotExist"):
            yield {"source_labels": [present], "regex": "true", "action": "keep" if operator == "Exists" else "drop"}
        else:
            values = "|".join(map(re.escape, each["values"]))
            action = "keep" if operator == "In" else "drop"
            yield {"source_labels": [f"__meta_kubernetes_{what}_label_{label}"], "regex": values, "action": action}


def _targets(port: str, by_service: bool) -> Iterator[Object]:
    """Keep the port of this name, and set the operator's labels."""
    name = "__meta_kubernetes_endpointslice_port_name" if by_service else "__meta_kubernetes_pod_container_port_name"
    yield {"source_labels": [name], "regex": port, "action": "keep"}
    yield {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)", "action": "drop"}
    yield _copy("__meta_kubernetes_namespace", "namespace")
    yield _copy("__meta_kubernetes_pod_container_name", "container")
    yield _copy("__meta_kubernetes_pod_name", "pod")
    if by_service:
        yield _copy("__meta_kubernetes_service_name", "service")


def _copy(source: str, target: str) -> Object:
    return {"source_labels": [source], "target_label": target}


def _label(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _snake(relabeling: Mapping[str, Any]) -> Object:
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in relabeling.items()}
