"""What a panel of the dashboard consists of, and the selectors of its queries.

Every query selects the release. A query about schedules also selects their namespace and name, so the variables of the dashboard apply to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RELEASE = 'release=~"$release"'
SCHEDULES = f'{RELEASE}, namespace=~"$namespace", schedule=~"$schedule"'
NAME = "{{namespace}}/{{schedule}}"

Kind = Literal["number", "graph", "stack", "table", "states"]


@dataclass(frozen=True)
class Query:
    """PromQL, and the name of each series with labels in double braces."""

    expr: str
    legend: str = NAME


@dataclass(frozen=True)
class Panel:
    """One panel. ``width`` is in columns, of which a row has 24."""

    title: str
    description: str
    unit: str
    kind: Kind
    queries: tuple[Query, ...]
    width: int = 8
    red_from: float | None = None  # numbers: the smallest value in red
    red_below: float | None = None  # numbers: values below it are in red
    states: tuple[str, str] = ("", "")  # states: the texts of 0, in green, and of 1, in red
    columns: tuple[str, ...] = ()  # tables: labels in their order; "Value" is the number
    across: str = ""  # tables: the label whose values become columns
    never: bool = False  # tables: an infinite duration is shown as "never"


@dataclass(frozen=True)
class Row:
    """A question, and the panels that answer it."""

    title: str
    panels: tuple[Panel, ...]


def schedules(metric: str, **labels: str) -> str:
    """The series of a metric that belong to the selected schedules. A label's value has its operator: ``type='="Ready"'``."""
    return _selector(metric, labels, SCHEDULES)


def releases(metric: str, **labels: str) -> str:
    """The series of a metric that belong to the selected releases."""
    return _selector(metric, labels, RELEASE)


def _selector(metric: str, labels: dict[str, str], variables: str) -> str:
    return f"{metric}{{{''.join(f'{name}{value}, ' for name, value in labels.items())}{variables}}}"


def rate(metric: str, **labels: str) -> str:
    """The increase a second of a counter of the selected schedules."""
    return f"rate({schedules(metric, **labels)}[$__rate_interval])"


def each(metric: str, **labels: str) -> str:
    """One value for each schedule. Two controllers export the same series while one replaces the other."""
    return f"max by (namespace, schedule) ({schedules(metric, **labels)})"


def quantile(share: float, metric: str, *by: str) -> str:
    """A quantile of a histogram for each value of the labels ``by``."""
    return f"histogram_quantile({share}, sum by ({', '.join(('le', *by))}) ({rate(f'{metric}_bucket')}))"
