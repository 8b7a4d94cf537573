"""One line of ``kubectl sweep get`` for a schedule. Pure."""

from __future__ import annotations

from kubectl_sweep.views.columns import Cell, Column
from kubectl_sweep.views.health import health_of
from kubectl_sweep.views.times import age
from kubesweep.quantities import count
from kubesweep.timestamps import parse_time
from kubesweep_console.documents import Schedule, mapping, number, text

__all__ = ["columns", "row_of"]

NAMESPACE = Column("NAMESPACE")
USUAL = (
    Column("NAME"),
    Column("STATE"),
    Column("REASON", 1),
    Column("SCHEDULE", 5),
    Column("LAST SWEEP", 3),
    Column("QUEUED", 4),
    Column("DEAD", 2),
    Column("LAST SUCCESS", 6),
    Column("AGE", 7),
)
WIDE = (
    Column("MODE", 8),
    Column("TIME ZONE", 14),
    Column("ROWS", 9),
    Column("BACKLOG", 10),
    Column("OLDEST", 11),
    Column("THROTTLE", 12),
    Column("NEXT TICK", 13),
)


def columns(*, namespaces: bool, wide: bool) -> tuple[Column, ...]:
    return (*([NAMESPACE] if namespaces else []), *USUAL, *(WIDE if wide else ()))


def row_of(schedule: Schedule, now: float, *, namespaces: bool, wide: bool) -> tuple[Cell, ...]:
    health = health_of(schedule, now)
    status, meta = schedule.status, mapping(schedule.document.get("metadata"))
    state = text(mapping(status.get("lastSweep")).get("state"))
    queue = mapping(status.get("queue"))
    usual = (
        Cell(schedule.name, "name"),
        Cell(health.word, health.tone),
        Cell(health.reason or "-", health.tone if health.reason else "faint"),
        Cell(text(schedule.spec.get("schedule")) or text(schedule.spec.get("every"))),
        Cell(state or "-"),
        Cell(str(number(queue.get("ready")))),
        Cell(str(schedule.dead), "bad" if schedule.dead else ""),
        Cell(age(parse_time(status.get("lastSuccessfulTime")), now)),
        Cell(age(parse_time(meta.get("creationTimestamp")), now)),
    )
    return (*([Cell(schedule.namespace)] if namespaces else []), *usual, *(_wide(schedule, now) if wide else ()))


def _wide(schedule: Schedule, now: float) -> tuple[Cell, ...]:
    sweep, backlog, throttle = schedule.last, schedule.backlog, schedule.throttle
    suspended = schedule.spec.get("suspend") is True
    ticks = None if suspended or schedule.ticks is None else schedule.ticks.next(now)
    by_cron = bool(schedule.spec.get("schedule"))
    return (
        Cell(text(schedule.spec.get("mode")) or "Enforce"),
        Cell((text(schedule.spec.get("timeZone")) or "Etc/UTC") if by_cron else "-"),
        Cell("-" if sweep is None else f"{count(sweep.applied)}/{count(sweep.planned)}"),
        Cell("-" if backlog.rows is None else count(backlog.rows)),
        Cell(age(backlog.oldest, now)),
        Cell("-" if throttle is None else throttle.value or throttle.reason, "warn" if throttle else ""),
        Cell(age(ticks, now)),
    )
