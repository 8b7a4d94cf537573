"""Reads the documents of a provider. Lenient: a field of another type or of a later version counts as missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kubesweep.durations import parse_duration
from kubesweep.proposal import read_proposal
from kubesweep.queue.model import PAUSE, PlanVersion, Sweep, SweepState, parse_key
from kubesweep.ticks import Ticks, make_ticks
from kubesweep.timestamps import parse_time
from kubesweep_console.provider import Document

__all__ = [
    "Backlog",
    "HealthSignal",
    "Schedule",
    "Throttle",
    "mapping",
    "number",
    "read_schedules",
    "read_sweep",
    "text",
]

_NOTHING: Mapping[str, Any] = {}
_NO_PLAN = PlanVersion(0, "")


def mapping(value: object) -> Mapping[str, Any]:
    return value if type(value) is dict or isinstance(value, Mapping) else _NOTHING  # the first is quicker


def items(value: object) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else ()


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def number(value: object) -> int:
    """A count. Anything but a natural number is 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def real(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class Backlog:
    """``status.backlog``: what the last plan saw. None: not known."""

    rows: int | None
    oldest: float | None
    inflow: float | None  # rows per hour
    outflow: float | None
    empty: float | None
    observed: float | None


@dataclass(frozen=True, slots=True)
class Throttle:
    """``status.throttle``: why a sweep is slower or faster than its spec says."""

    reason: str
    percent: int | None
    value: str
    limit: str
    message: str


@dataclass(frozen=True, slots=True)
class HealthSignal:
    """An entry of ``status.signals``: a signal of ``source.health`` as workers measured it last."""

    name: str
    value: str  # empty: unknown
    limit: str
    percent: int
    since: float | None


class Schedule:
    """One document, read on demand: a page about 1,000 schedules needs few fields of most of them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.has_twin = False  # another one has the same namespace and name: two clusters may share a queue
        meta = mapping(document.get("metadata"))
        self.namespace = text(meta.get("namespace")) or "default"
        self.name = text(meta.get("name"))
        self.uid = text(meta.get("uid"))
        self.spec = mapping(document.get("spec"))
        self.status = mapping(document.get("status"))

    @cached_property
    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        """By type, in the order of the status."""
        found = map(mapping, items(self.status.get("conditions")))
        return {text(each.get("type")): each for each in found if each}

    def condition(self, kind: str) -> Mapping[str, Any]:
        """The condition of this type; empty where there is none."""
        return self.conditions.get(kind, _NOTHING)

    @property
    def latest_entry(self) -> Mapping[str, Any]:
        """``status.lastSweep`` as it is; empty where there is none."""
        return mapping(self.status.get("lastSweep"))

    @cached_property
    def last(self) -> Sweep | None:
        """The latest sweep."""
        return read_sweep(self.latest_entry)

    @property
    def counted(self) -> float | None:
        """When the numbers of a cluster's status were written, by the controller's clock. None: they are of now."""
        return parse_time(self.status.get("countedTime"))

    @property
    def expected(self) -> int:
        """Rows of the latest sweep, if it runs: those that are planned, or more where the backlog shows that planning goes on."""
        if self.last is None or self.last.state.settled:
            return 0
        return max(self.last.planned, self.last.settled_rows - self.last.retrying + (self.backlog.rows or 0))

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """All sweeps that are known, the latest first."""
        found = (self.last, *map(read_sweep, items(self.status.get("history"))))
        return tuple(each for each in found if each is not None)

    @property
    def found_rows(self) -> list[int]:
        """Rows that the sweeps which completed found stale, the oldest first. Other sweeps may have found only a part of them."""
        entries = (self.status.get("lastSweep"), *items(self.status.get("history")))
        ended = [found for each in entries if (found := mapping(each)).get("state") == SweepState.COMPLETED]
        return [max(number(each.get("planned")), number(each.get("stale"))) for each in reversed(ended)]

    @property
    def backlog(self) -> Backlog:
        found = mapping(self.status.get("backlog"))
        rows = found.get("rows")
        return Backlog(
            number(rows) if isinstance(rows, int) else None,
            parse_time(found.get("oldestTime")),
            real(found.get("inflowPerHour")),
            real(found.get("outflowPerHour")),
            parse_time(found.get("emptyTime")),
            parse_time(found.get("observedTime")),
        )

    @property
    def throttle(self) -> Throttle | None:
        found = mapping(self.status.get("throttle"))
        if not found:
            return None
        percent = found.get("percent")
        return Throttle(
            text(found.get("reason")),
            percent if isinstance(percent, int) and not isinstance(percent, bool) else None,
            text(found.get("value")),
            text(found.get("limit")),
            text(found.get("message")),
        )

    @property
    def paused(self) -> bool:
        """Whether a person set its rate to 0. Workers that the health of the database stops are not paused."""
        return self.throttle is not None and self.throttle.value == PAUSE

    @property
    def signals(self) -> tuple[HealthSignal, ...]:
        found = map(mapping, items(self.status.get("signals")))
        return tuple(
            HealthSignal(
                text(each.get("name")),
                text(each.get("value")),
                text(each.get("limit")),
                number(each.get("percent")),
                parse_time(each.get("since")),
            )
            for each in found
            if each
        )

    @property
    def dead(self) -> int:
        return number(mapping(self.status.get("queue")).get("dead"))

    @property
    def suspended(self) -> bool:
        return self.condition("Suspended").get("status") == "True"

    @property
    def resumable(self) -> bool:
        """Whether a person stopped it: it is suspended, or its rate is 0."""
        return self.suspended or self.paused

    @cached_property
    def ticks(self) -> Ticks | None:
        """When it fires; None where the spec is unknown or not valid."""
        every = text(self.spec.get("every"))
        try:
            return make_ticks(
                schedule=text(self.spec.get("schedule")) or None,
                every=parse_duration(every) if every else None,
                time_zone=text(self.spec.get("timeZone")) or "Etc/UTC",
            )
        except ValueError:
            return None


def read_schedules(documents: Iterable[Document]) -> tuple[Schedule, ...]:
    found = tuple(map(Schedule, documents))
    seen: dict[tuple[str, str], Schedule] = {}
    for each in found:
        first = seen.setdefault((each.namespace, each.name), each)
        if first is not each:
            first.has_twin = each.has_twin = True
    return found


def read_sweep(entry: object) -> Sweep | None:
    """An entry of ``status.history``, or ``status.lastSweep``; None where it is none."""
    found = mapping(entry)
    try:
        state = SweepState(text(found.get("state")))
    except ValueError:
        return None
    if not text(found.get("id")):
        return None
    return Sweep(
        id=text(found.get("id")),
        tick=parse_time(found.get("tick")) or 0.0,
        plan=_NO_PLAN,
        mode=text(found.get("mode")) or "Enforce",
        state=state,
        reason=text(found.get("reason")),
        message=text(found.get("message")),
        cutoff=text(found.get("cutoff")) or None,
        started=parse_time(found.get("startTime")) or 0.0,
        finished=parse_time(found.get("completionTime")),
        capped=found.get("capped") is True,
        open_jobs=number(found.get("openJobs")),
        **_proposed(found),
        planned=number(found.get("planned")),
        applied=number(found.get("applied")),
        skipped=number(found.get("skipped")),
        unconfirmed=number(found.get("unconfirmed")),
        retrying=number(found.get("retrying")),
        dead=number(found.get("dead")),
    )


def _proposed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the sweep found, as its proposal says; a dry run has more keys in the entry itself."""
    keys = tuple(parse_key(key) for key in items(entry.get("sampleKeys")) if isinstance(key, str))
    read = read_proposal(entry.get("proposal"))
    return read | ({"samples": keys} if keys else {})
