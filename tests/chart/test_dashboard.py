"""The ConfigMap with the Grafana dashboard."""

from __future__ import annotations

import json

from tests.chart.rendering import CHART, NAMESPACE, kinds, one, render

ON = "metrics.grafanaDashboard.enabled=true"
NAME = "ks-kubesweep-dashboard"


def test_the_dashboard_is_off_by_default() -> None:
    assert NAME not in {each["metadata"]["name"] for each in kinds(render(), "ConfigMap")}


def test_the_config_map_has_the_sidecars_label_and_the_file_unchanged() -> None:
    made = one(render("default", ON), "ConfigMap", NAME)
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["namespace"] == NAMESPACE
    file = (CHART / "files" / "dashboard.json").read_text()
    assert made["data"].keys() == {"kubesweep.json"}
    assert json.loads(made["data"]["kubesweep.json"]) == json.loads(file)
    assert "{{namespace}}/{{schedule}}" in made["data"]["kubesweep.json"]


def test_the_dashboard_may_go_where_another_sidecar_finds_it() -> None:
    values = '{"grafanaDashboard": {"enabled": true, "namespace": "grafana", "labels": {"dashboards": "yes"}, "annotations": {"grafana_folder": "DB"}}}'
    made = one(render(json=f"metrics={values}"), "ConfigMap", NAME)["metadata"]
    assert (made["namespace"], made["labels"]["dashboards"]) == ("grafana", "yes")
    assert made["annotations"]["grafana_folder"] == "DB"


def test_a_config_map_has_room_for_the_dashboard() -> None:
    assert len((CHART / "files" / "dashboard.json").read_bytes()) < 256 * 1024
