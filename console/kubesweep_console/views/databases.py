"""The databases page: which schedules share a database, and what its signals are at. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubesweep.queue.model import ACTIVE
from kubesweep_console.documents import HealthSignal, Schedule, Throttle, mapping, text
from kubesweep_console.times import Moment, moment_of
from kubesweep_console.views.state import State, Urgency
from kubesweep_console.views.words import SIGNALS, signals, table_of

__all__ = ["Database", "Measured", "OnDatabase", "Signal", "database_of", "databases", "measured_of"]

UNKNOWN = "not known: the schedule's file was not given"


@dataclass(frozen=True, slots=True)
class OnDatabase:
    schedule: Schedule
    state: State
    table: str
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signal:
    """What slows down a schedule of this database now."""

    schedule: Schedule
    throttle: Throttle
    tone: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A signal that a schedule of this database compares with its limit now."""

    schedule: Schedule
    label: str
    signal: HealthSignal
    pauses_at: str
    since: Moment | None
    tone: str


@dataclass(frozen=True, slots=True)
class Database:
    name: str
    schedules: tuple[OnDatabase, ...]
    signals: tuple[Signal, ...]
    measured: tuple[Measured, ...]
    urgency: Urgency

    @property
    def uses_signals(self) -> bool:
        return any(each.limits for each in self.schedules)


def databases(found: Iterable[tuple[Schedule, State]], now: float) -> list[Database]:
    """Databases with a problem first, then by name."""
    by_name: dict[str, list[tuple[Schedule, State]]] = {}
    for schedule, state in found:
        by_name.setdefault(database_of(schedule), []).append((schedule, state))
    made = [_database(name, pairs, now) for name, pairs in by_name.items()]
    return sorted(made, key=lambda each: (each.urgency, each.name))


def database_of(schedule: Schedule) -> str:
    """What identifies the database: its address where the provider knows it, else where its credentials are."""
    if given := text(schedule.document.get("database")):
        return given
    source = mapping(schedule.spec.get("source"))
    ref = mapping(mapping(source.get("urlFrom")).get("secretKeyRef"))
    if name := text(ref.get("name")):
        return f"{schedule.namespace}: Secret {name}, entry {text(ref.get('key'))}"
    if file := text(mapping(source.get("urlFrom")).get("file")):
        return f"{schedule.namespace}: file {file}"
    return _parts(schedule.namespace, mapping(source.get("connection")))


def _parts(namespace: str, connection: Mapping[str, Any]) -> str:
    if host := text(connection.get("host")):
        database = text(connection.get("database"))
        return f"{namespace}: {host}/{database}" if database else f"{namespace}: {host}"
    if secret := text(mapping(connection.get("secretRef")).get("name")):
        return f"{namespace}: Secret {secret}"
    return UNKNOWN


def _database(name: str, found: list[tuple[Schedule, State]], now: float) -> Database:
    found.sort(key=lambda each: (each[1].urgency, each[0].namespace, each[0].name))
    return Database(
        name=name,
        schedules=tuple(
            OnDatabase(schedule, state, table_of(schedule.spec), tuple(signals(schedule.spec)))
            for schedule, state in found
        ),
        signals=tuple(_signal(schedule, slow) for schedule, _ in found if (slow := schedule.throttle) is not None),
        measured=tuple(each for schedule, _ in found for each in measured_of(schedule, now)),
        urgency=min(state.urgency for _, state in found),
    )


def _signal(schedule: Schedule, throttle: Throttle) -> Signal:
    tone = "bad" if throttle.percent == 0 else "off" if throttle.percent is None else "warn"
    return Signal(schedule, throttle, tone)


def measured_of(schedule: Schedule, now: float) -> tuple[Measured, ...]:
    """The signals that its workers measure now."""
    return tuple(_measured(schedule, each, now) for each in schedule.signals)


def _measured(schedule: Schedule, signal: HealthSignal, now: float) -> Measured:
    tone = "off" if not signal.value else "bad" if signal.percent == 0 else "warn" if signal.percent < 100 else "good"
    label = SIGNALS.get(signal.name, signal.name)
    pauses_at = "never, it only slows down" if signal.name == ACTIVE else signal.limit
    return Measured(schedule, label, signal, pauses_at, moment_of(signal.since, now), tone)
