"""The Service of the console, off by default, and who may reach it."""

from __future__ import annotations

import pytest

from kubesweep_controller.settings import from_environment
from tests.chart.rendering import Object, Refused, environment, kinds, one, render, text

ON = "console.enabled=true"


def ports(objects: list[Object]) -> dict[str, int]:
    [container] = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["containerPort"] for each in container["ports"]}


def test_there_is_no_console_by_default() -> None:
    objects = render("default", "networkPolicy.enabled=true")
    assert [each for each in kinds(objects, "Service") if "console" in each["metadata"]["name"]] == []
    assert ports(objects) == {"http": 8080}
    assert not [name for name in environment(objects) if "CONSOLE" in name]
    [rule] = one(objects, "NetworkPolicy", "ks-kubesweep")["spec"]["ingress"]
    assert rule["ports"] == [{"port": 8080, "protocol": "TCP"}]


def test_the_service_reaches_the_port_that_the_controller_listens_on() -> None:
    objects = render("default", ON)
    service = one(objects, "Service", "ks-kubesweep-console")
    pod = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pod.items()
    assert service["spec"]["type"] == "ClusterIP"
    [port] = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "console")
    settings = from_environment(environment(objects) | {"POD_NAMESPACE": "a", "POD_NAME": "b"})
    assert (settings.console_port, settings.console_base) == (ports(objects)["console"], "")


def test_prometheus_does_not_scrape_the_console() -> None:
    objects = render("default", ON, "metrics.serviceMonitor.enabled=true")
    selector = one(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    console, metrics = (one(objects, "Service", f"ks-kubesweep-{name}") for name in ("console", "metrics"))
    assert not selector.items() <= console["metadata"]["labels"].items()
    assert selector.items() <= metrics["metadata"]["labels"].items()


def test_the_network_policy_admits_only_the_sources_that_are_named() -> None:
    [_, rule] = one(render("default", ON, "networkPolicy.enabled=true"), "NetworkPolicy", "ks-kubesweep")["spec"][
        "ingress"
    ]
    assert rule == {"ports": [{"port": 8081, "protocol": "TCP"}]}
    objects = render("everything")
    [_, rule] = one(objects, "NetworkPolicy", "sweeper")["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]
    service = one(objects, "Service", "sweeper-console")
    assert service["metadata"]["labels"]["example.com/tenant"] == "data"
    assert service["spec"]["ports"][0]["port"] == 8080
    assert environment(objects)["KUBESWEEP_CONSOLE_BASE"] == "/sweeps"


@pytest.mark.parametrize("path", ["sweeps", "/sweeps/", "/a b", "/'><script>"])
def test_a_base_path_is_a_path(path: str) -> None:
    with pytest.raises(Refused, match="basePath"):
        text("default", ON, f"console.basePath={path}")
