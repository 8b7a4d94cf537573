"""Rules for the Grafana dashboard, as a linter for dashboards has them."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FILE = ROOT / "charts" / "kubesweep" / "files" / "dashboard.json"
QUESTIONS = [
    "Is anything wrong?",
    "Do we keep up?",
    "Where does the time go?",
    "What died, and why?",
    "What does it do to my database?",
]
METRIC = re.compile(r"\b(kubesweep_[a-z_]+|ALERTS)\{([^}]*)\}")
HISTOGRAM = re.compile(r"_(bucket|count|sum)$")
COUNTER = re.compile(r"_(total|bucket|count|sum)\{")
WITHOUT_SCHEDULE = {"kubesweep_queue_up", "kubesweep_leader", "kubesweep_reconcile_duration_seconds_bucket"}


@cache
def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(FILE.read_text())
    return read


PANELS = [each for each in dashboard()["panels"] if each["type"] != "row"]
every_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.get("title", "?").replace(" ", "-"))


def queries(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def listed() -> dict[str, str]:
    """The type of each metric that docs/metrics.md lists. Other tests compare the page with the code."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    return dict(re.findall(r"^\| `(kubesweep_[a-z_]+)` \| (\w+) \|", page, re.MULTILINE))


def test_the_rows_follow_the_questions_of_a_person_on_call() -> None:
    panels = dashboard()["panels"]
    assert [each["title"] for each in panels if each["type"] == "row"] == QUESTIONS
    assert panels[0]["type"] == "row"
    places = [(each["gridPos"]["y"], each["gridPos"]["x"]) for each in panels]
    assert places == sorted(places)


def test_panels_have_unique_numbers_and_titles_and_do_not_overlap() -> None:
    assert len({each["id"] for each in dashboard()["panels"]}) == len(dashboard()["panels"])
    assert len({each["title"] for each in PANELS}) == len(PANELS) > 20
    cells = [
        (x, y)
        for where in (each["gridPos"] for each in dashboard()["panels"])
        for x in range(where["x"], where["x"] + where["w"])
        for y in range(where["y"], where["y"] + where["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_dashboard_has_a_fixed_address_and_is_no_ones_copy() -> None:
    made = dashboard()
    assert (made["uid"], made["title"], made["editable"]) == ("kubesweep", "Kubesweep", False)
    assert "id" not in made or made["id"] is None
    assert "__inputs" not in made


def test_the_variables_select_data_source_release_namespace_and_schedule() -> None:
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    assert list(variables) == ["datasource", "release", "namespace", "schedule"]
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name in ("release", "namespace", "schedule"):
        one = variables[name]
        assert one["datasource"]["uid"] == "${datasource}"
        assert (one["multi"], one["includeAll"], one["allValue"]) == (True, True, ".*")
        assert one["refresh"] == 2, "values are read again when the time range changes"
        metric = re.fullmatch(rf"label_values\((kubesweep_[a-z_]+)(?:\{{.*\}})?, {name}\)", one["query"]["query"])
        assert metric is not None
        assert metric[1] in listed()


@every_panel
def test_a_panel_has_a_title_a_description_and_a_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith((".", ")")) or "Next: " in panel["description"]
    assert len(panel["description"]) > 30
    assert panel["fieldConfig"]["defaults"]["unit"]


@every_panel
def test_a_panel_uses_the_data_source_and_every_series_the_variables(panel: dict[str, Any]) -> None:
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert queries(panel)
    for query in queries(panel):
        series = METRIC.findall(query)
        assert {name for name, _ in series} == set(re.findall(r"\b(?:kubesweep_[a-z_]+|ALERTS\b)", query))
        for name, labels in series:
            assert 'release=~"$release' in labels, name
            if name in WITHOUT_SCHEDULE:
                continue
            assert 'namespace=~"$namespace"' in labels or name == "ALERTS"
            assert 'schedule=~"$schedule' in labels or name == "kubesweep_queue_memory_bytes"


@every_panel
def test_a_query_names_only_documented_metrics(panel: dict[str, Any]) -> None:
    known = listed()
    for name, _ in (found for query in queries(panel) for found in METRIC.findall(query)):
        if name == "ALERTS":
            continue
        if name in known:
            assert known[name] != "histogram", f"{name} is a histogram: ask for its _bucket"
        else:
            assert known.get(HISTOGRAM.sub("", name)) == "histogram", name


@every_panel
def test_a_counter_is_shown_as_a_rate_over_the_interval_that_fits_the_scrapes(panel: dict[str, Any]) -> None:
    for query in queries(panel):
        ranges = re.findall(r"\[([^\]]*)\]", query)
        assert set(ranges) <= {"$__rate_interval"}
        rated = re.findall(r"rate\(\w+\{[^}]*\}\[\$__rate_interval\]\)", query)
        assert len(rated) == len(ranges)
        counters = [name for name in re.findall(r"\w+\{", query) if COUNTER.search(name)]
        if "group by" not in query:  # which counts series
            assert len(counters) == len(rated)
        if "_bucket{" in query:
            assert re.match(r"histogram_quantile\(0\.\d+, sum by \(le[,)]", query)


@every_panel
def test_a_series_has_a_name_made_of_labels_that_its_query_keeps(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert target["legendFormat"]
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept


def test_the_documentation_names_the_rows() -> None:
    page = (ROOT / "docs" / "dashboard.md").read_text()
    assert re.findall(r"^\| ([A-Z][^|]*\?) \|", page, re.MULTILINE) == QUESTIONS
