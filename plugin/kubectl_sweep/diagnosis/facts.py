"""What a diagnosis is made from: the schedule and the objects around it, as the user may read them at one moment.

The controller's conditions come first, because they have messages. The other objects add what it cannot see, or sees later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubesweep.quantities import duration
from kubesweep.text import clip
from kubesweep.timestamps import parse_time
from kubesweep_console.documents import Schedule, items, mapping, text
from kubesweep_console.times import moment, zone_of

__all__ = ["COMPONENT", "Facts", "Object"]

Object = Mapping[str, Any]
COMPONENT = "app.kubernetes.io/component"
LONGEST = 600  # characters of another program's message


@dataclass(frozen=True)
class Facts:
    """None and empty: there is none, or ``unread`` says that the user may not read the kind."""

    schedule: Schedule
    now: float
    command: Callable[..., str]  # a verb and more words -> a command for this schedule
    pods: tuple[Object, ...] = ()  # of workers and ticks
    deployment: Object | None = None
    scaler: Object | None = None
    hpa: Object | None = None
    cronjob: Object | None = None
    jobs: tuple[Object, ...] = ()  # of ticks
    warnings: tuple[Object, ...] = ()  # Events about these objects
    pruned: tuple[str, ...] = ()  # fields that this version knows and the cluster's CRD drops
    unread: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.schedule.namespace}/{self.schedule.name}"

    @property
    def here(self) -> str:
        """``-n`` for a kubectl command."""
        return f"-n {self.schedule.namespace}"

    @property
    def edit(self) -> str:
        return f"kubectl edit sweepschedule {self.schedule.name} {self.here}"

    @property
    def meta(self) -> Object:
        return mapping(self.schedule.document.get("metadata"))

    @property
    def queue(self) -> Object:
        return mapping(self.schedule.status.get("queue"))

    def reason(self, kind: str, status: str) -> str:
        """The reason of a condition that has this status; empty where it has another."""
        found = self.schedule.condition(kind)
        return text(found.get("reason")) if found.get("status") == status else ""

    def message(self, kind: str) -> str:
        return text(self.schedule.condition(kind).get("message"))

    def evidence(self, kind: str) -> tuple[str, ...]:
        """The condition as one line."""
        found = self.schedule.condition(kind)
        if not found:
            return ()
        since = self.when(parse_time(found.get("lastTransitionTime")))
        head = f"{kind}={text(found.get('status'))} {text(found.get('reason'))}, since {since}"
        return (f"{head}: {clip(text(found.get('message')), LONGEST)}",)

    def when(self, seconds: float | None) -> str:
        if seconds is None:
            return "an unknown time"
        found = moment(seconds, self.now, zone_of(self.schedule.ticks))
        return f"{found.clock} ({found.distance})"

    def ago(self, seconds: float) -> str:
        return duration(self.now - seconds)

    def of(self, component: str) -> Iterator[Object]:
        """The pods of ``worker`` or ``producer`` that are not being deleted."""
        for pod in self.pods:
            meta = mapping(pod.get("metadata"))
            if mapping(meta.get("labels")).get(COMPONENT) == component and "deletionTimestamp" not in meta:
                yield pod

    def warned(self, prefix: str) -> str:
        """The latest Warning about an object whose name begins so; empty where there is none."""
        found = [
            (text(each.get("eventTime")) or text(mapping(each.get("series")).get("lastObservedTime")), each)
            for each in self.warnings
            if text(mapping(each.get("regarding")).get("name")).startswith(prefix)
        ]
        if not found:
            return ""
        _, latest = max(found, key=lambda pair: pair[0])
        return f"{text(latest.get('reason'))}: {clip(text(latest.get('note')), LONGEST)}"

    def conditions_of(self, found: Object | None) -> dict[str, Object]:
        """By type, of another object than the schedule."""
        status = mapping(mapping(found or {}).get("status"))
        return {text(each.get("type")): each for each in map(mapping, items(status.get("conditions")))}
