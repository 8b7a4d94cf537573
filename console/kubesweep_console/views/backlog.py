"""Whether a schedule keeps up: the age of its oldest stale row, the flow, and when the backlog is empty. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from kubesweep.quantities import count, duration, rows
from kubesweep_console.documents import Schedule, text
from kubesweep_console.pictures import sparkline
from kubesweep_console.times import Moment, moment_of

__all__ = ["KeepUp", "keep_up"]


@dataclass(frozen=True, slots=True)
class KeepUp:
    age: str  # of the oldest stale row; empty: not known
    rows: str
    left: str  # both of them; empty: neither is known
    flow: str  # what arrives and what is swept in an hour
    verdict: str
    tone: str
    empty: Moment | None
    observed: Moment | None
    line: Markup  # rows that the last sweeps found


_VERDICTS = {"True": ("keeps up", "good"), "False": ("falls behind", "bad"), "Unknown": ("not known yet", "off")}


def keep_up(schedule: Schedule, now: float) -> KeepUp:
    found, condition = schedule.backlog, schedule.condition("KeepingUp")
    verdict, tone = _VERDICTS.get(text(condition.get("status")), ("", "off"))
    age = "" if found.oldest is None else duration(now - found.oldest)
    left = "" if found.rows is None else rows(found.rows)
    return KeepUp(
        age=age,
        rows=left,
        left="none left" if found.rows == 0 else ", ".join(filter(None, (f"{age} old" if age else "", left))),
        flow=_flow(found.inflow, found.outflow),
        verdict=verdict,
        tone=tone,
        empty=moment_of(found.empty, now),
        observed=moment_of(found.observed, now),
        line=rows_of_sweeps(schedule.found_rows),
    )


def rows_of_sweeps(found: list[int]) -> Markup:
    """How many rows each of the last sweeps found. A rising line: rows become stale faster than they are swept."""
    if len(found) < 2:
        return Markup()
    label = f"rows of the last {len(found)} sweeps: from {count(found[0])} to {count(found[-1])}"
    return sparkline(found, label)


def _flow(inflow: float | None, outflow: float | None) -> str:
    parts = []
    if inflow is not None:
        parts.append(f"{count(round(inflow))} rows/h become stale")
    if outflow is not None:
        parts.append(f"{count(round(outflow))} rows/h are finished")
    return ", ".join(parts)
