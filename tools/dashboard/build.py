"""charts/kubesweep/files/dashboard.json: the rows as JSON, made by Grafana's Foundation SDK, whose classes have the fields of a dashboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grafana_foundation_sdk.builders import common as viz
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from tools.dashboard.causes import DATABASE, DIED, TIME
from tools.dashboard.overview import KEEP_UP, WRONG
from tools.dashboard.panels import RELEASE, Kind, Panel, Query

DESCRIPTION = "Kubesweep: is anything wrong, do the sweeps keep up, and if not, why? docs/dashboard.md explains it."
SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHTS: dict[Kind, int] = {"number": 4, "graph": 8, "stack": 8, "table": 8, "states": 8}
FOREVER = 100 * 365 * 86400.0  # seconds; longer durations are shown as "never"


def page() -> str:
    """The text of the file."""
    made = builders.Dashboard("Kubesweep").uid("kubesweep").description(DESCRIPTION).tags(["kubesweep"]).readonly()
    made.time("now-3h", "now").refresh("30s").timezone("browser").tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    for variable in _variables():
        made.with_variable(variable)
    for row in (WRONG, KEEP_UP, TIME, DIED, DATABASE):
        made.with_row(builders.Row(row.title))
        for panel in row.panels:
            made.with_panel(_KINDS[panel.kind](panel))
    built = made.build()
    for number, each in enumerate(built.panels or (), 1):
        each.id_val = number
    return JSONEncoder(sort_keys=True, indent=2).encode(built) + "\n"


def _variables() -> list[Any]:
    source = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    condition = "kubesweep_schedule_condition"
    names = f'{condition}{{{RELEASE}, namespace=~"$namespace"}}'
    return [
        source,
        _variable("release", "Release", "kubesweep_leader"),
        _variable("namespace", "Namespace", f"{condition}{{{RELEASE}}}"),
        _variable("schedule", "Schedule", names),
    ]


def _variable(name: str, label: str, metric: str) -> Any:
    """The values of a label. All also matches series without the label."""
    query = f"label_values({metric}, {name})"
    made = builders.QueryVariable(name).label(label).datasource(SOURCE).query({"query": query, "refId": name})
    made.multi(True).include_all(True).all_value(".*").current(dashboard.VariableOption(text="All", value="$__all"))
    made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    return made


def _panel(builder: Any, panel: Panel, instant: bool = False) -> Any:
    """What all panels have."""
    builder.title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    builder.span(panel.width).height(HEIGHTS[panel.kind])
    for name, query in zip("ABC", panel.queries, strict=False):
        builder.with_target(_target(name, query, instant, panel.kind == "table"))
    return builder


def _target(name: str, query: Query, instant: bool, as_table: bool) -> Any:
    made = prometheus.Dataquery().ref_id(name).datasource(SOURCE).expr(query.expr).legend_format(query.legend)
    made.format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)
    return made.instant() if instant else made.range()


def _steps(*steps: tuple[float | None, str]) -> Any:
    made = [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)


def _number(panel: Panel) -> Any:
    made = _panel(stat.Panel(), panel, instant=True)
    made.reduce_options(viz.ReduceDataOptions().calcs(["lastNotNull"])).graph_mode(common.BigValueGraphMode.NONE)
    made.color_mode(common.BigValueColorMode.BACKGROUND).color_scheme(_by_thresholds())
    if panel.red_from is not None:
        return made.thresholds(_steps((None, "green"), (panel.red_from, "red")))
    return made.thresholds(_steps((None, "red"), (panel.red_below, "green")))


def _by_thresholds() -> Any:
    return builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS)


def _graph(panel: Panel) -> Any:
    made = _panel(timeseries.Panel(), panel).min(0)
    made.legend(
        viz.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    made.tooltip(viz.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    return made.line_width(1).show_points(common.VisibilityMode.NEVER)


def _stack(panel: Panel) -> Any:
    made = _graph(panel).fill_opacity(30)
    made.stacking(viz.StackingConfig().mode(common.StackingMode.NORMAL))
    return made.max(1) if panel.unit == "percentunit" else made


def _states(panel: Panel) -> Any:
    good, bad = panel.states
    texts = {
        "0": dashboard.ValueMappingResult(text=good, color="green", index=0),
        "1": dashboard.ValueMappingResult(text=bad, color="red", index=1),
    }
    made = (
        _panel(statetimeline.Panel(), panel)
        .color_scheme(_by_thresholds())
        .mappings([dashboard.ValueMap(options=texts)])
    )
    return made.thresholds(_steps((None, "green"), (1, "red"))).show_value(common.VisibilityMode.NEVER).row_height(0.8)


def _table(panel: Panel) -> Any:
    made = _panel(table.Panel(), panel, instant=True)
    columns, names = list(panel.columns), {}
    if panel.across:
        # Grafana names the first column of a matrix after both fields.
        names = {f"{columns[0]}\\{panel.across}": columns[0]}
        fields = {"columnField": panel.across, "rowField": columns[0], "valueField": "Value"}
        made.with_transformation(dashboard.DataTransformerConfig(id_val="groupingToMatrix", options=fields))
        columns = [*names, *columns[1:]]
    hidden = dict.fromkeys({"Time", "Value"} - {*columns, *(["Value"] if panel.across else [])}, True)
    order = {name: place for place, name in enumerate(columns)}
    options = {"indexByName": order, "excludeByName": hidden, "renameByName": names}
    made.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=options))
    if panel.never:
        never = dashboard.ValueMappingResult(text="never", color="red", index=0)
        made.mappings([dashboard.RangeMap(options=dashboard.DashboardRangeMapOptions(from_val=FOREVER, result=never))])
    return made


_KINDS: dict[Kind, Callable[[Panel], Any]] = {
    "number": _number,
    "graph": _graph,
    "stack": _stack,
    "table": _table,
    "states": _states,
}
