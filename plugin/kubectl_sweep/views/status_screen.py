"""One screen about a schedule: is it well, what it did, what is next. Pure but for the terminal that it prints on."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from kubectl_sweep.views.columns import Cell, Column, layout_of, show_rows, width_of
from kubectl_sweep.views.fields import show_fields
from kubectl_sweep.views.health import health_of
from kubectl_sweep.views.progress import OUTCOMES
from kubectl_sweep.views.times import age, when, zone
from kubesweep.quantities import count, duration, rows
from kubesweep.queue.model import Sweep, SweepState, parse_key, plain_key
from kubesweep.text import clip
from kubesweep.timestamps import parse_time
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_console.documents import Schedule, items, mapping, number, text
from kubesweep_console.views.words import words_of

__all__ = ["show_status"]

TICKS = 3
LONGEST = 200  # characters of a message of another program
GOOD = {"Ready": "True", "SourceReady": "True", "Autoscaling": "True", "KeepingUp": "True"}  # others are good if False
HISTORY = (
    Column("TICK"), Column("STATE"), Column("PLANNED", 1), Column("APPLIED", 2), Column("SKIPPED", 7), Column("UNCONFIRMED", 8),
    Column("RETRYING", 5), Column("DEAD", 3), Column("TOOK", 6),
)  # fmt: skip


def show_status(terminal: Terminal, schedule: Schedule, now: float) -> None:
    """The facts. The verb prints the diagnosis above them."""
    health = health_of(schedule, now)
    reason = f": {health.reason}" if health.reason else ""
    name = f"{schedule.namespace}/{schedule.name}"
    terminal.out.print(Text.assemble((name, "name"), "  ", (f"{health.word}{reason}", health.tone)), soft_wrap=True)
    show_fields(terminal, [*_words(schedule), *_work(schedule, now)])
    if groups := list(_dead(schedule)):
        terminal.out.print(Text("Dead letters", style="bold"))
        show_fields(terminal, groups)
    if troubles := list(_conditions(schedule, now)):
        terminal.out.print(Text("Conditions", style="bold"))
        show_fields(terminal, troubles)
    _history(terminal, schedule, now)


def _words(schedule: Schedule) -> Iterator[tuple[str, str]]:
    for each in words_of(schedule.spec):
        if each.label in ("fires", "sweeps", "calls", "then"):
            yield each.label, "; ".join(each.lines)


def _work(schedule: Schedule, now: float) -> Iterator[tuple[str, str]]:
    zoned = zone(schedule)
    yield from _next_ticks(schedule, now)
    sweep = schedule.last
    if sweep is None:
        yield "last sweep", "none yet"
    else:
        yield "last sweep", _sweep(sweep, now, zoned)
        if sweep.message and sweep.state is not SweepState.COMPLETED:
            yield "", clip(sweep.message, LONGEST)
    if success := parse_time(schedule.status.get("lastSuccessfulTime")):
        yield "last success", when(success, now, zoned)
    yield "backlog", _backlog(schedule, now, zoned)
    queue = mapping(schedule.status.get("queue"))
    if queue:
        parts = [f"{number(queue.get(name))} {name}" for name in ("ready", "running", "delayed")]
        waits = parse_time(schedule.status.get("oldestReadyTime"))
        yield "jobs", ", ".join(parts) + (f"; the longest waits since {when(waits, now, zoned)}" if waits else "")
    if schedule.throttle is not None:
        since = parse_time(mapping(schedule.status.get("throttle")).get("since"))
        yield "throttle", f"{schedule.throttle.message}, since {when(since, now, zoned)}"


def _next_ticks(schedule: Schedule, now: float) -> Iterator[tuple[str, str]]:
    if schedule.spec.get("suspend") is True or schedule.ticks is None:
        yield (
            "next ticks",
            "none while it is suspended" if schedule.ticks is not None else "not known: its times are invalid",
        )
        return
    tick: float | None = now
    for place in range(TICKS):
        tick = None if tick is None else schedule.ticks.next(tick)
        if tick is not None:
            yield ("" if place else "next ticks"), when(tick, now, zone(schedule))


def _sweep(sweep: Sweep, now: float, zoned: str) -> str:
    began = f"of {when(sweep.tick, now, zoned)}"
    outcomes = [f"{name} {count(size)}" for name in OUTCOMES if (size := getattr(sweep, name))]
    reason = f" ({sweep.reason})" if sweep.reason else ""
    dry = "dry run, " if sweep.mode == "DryRun" else ""
    return ", ".join([f"{dry}{sweep.state}{reason} {began}{_took(sweep)}", f"{rows(sweep.planned)} planned", *outcomes])


def _took(sweep: Sweep) -> str:
    return f", in {duration(sweep.finished - sweep.started)}" if sweep.finished is not None and sweep.started else ""


def _backlog(schedule: Schedule, now: float, zoned: str) -> str:
    found = schedule.backlog
    if found.rows is None and found.oldest is None:
        return "not known"
    parts = [rows(found.rows) if found.rows is not None else "an unknown number of rows"]
    if found.oldest is not None:
        parts.append(f"the oldest stale since {when(found.oldest, now, zoned)}")
    rates = [
        f"{count(int(rate))} rows/h {way}"
        for rate, way in ((found.inflow, "in"), (found.outflow, "out"))
        if rate is not None
    ]
    if found.empty is not None:
        rates.append(f"empty at {when(found.empty, now, zoned)}")
    return ", ".join([*parts, *rates])


def _dead(schedule: Schedule) -> Iterator[tuple[str, str]]:
    for group in map(mapping, items(schedule.status.get("errors"))):
        keys = ", ".join(plain_key(parse_key(key)) for key in items(group.get("sampleKeys")) if isinstance(key, str))
        such = f" (such as {keys})" if keys else ""
        yield (
            text(group.get("error")),
            f"{rows(number(group.get('count')))}{such}: {clip(text(group.get('message')), LONGEST)}",
        )


def _conditions(schedule: Schedule, now: float) -> Iterator[tuple[str, str]]:
    """Those that are not as they should be."""
    for kind, found in schedule.conditions.items():
        status = text(found.get("status"))
        if kind in ("Suspended", "Stalled") and status != "True":
            continue
        if status != GOOD.get(kind, "False"):
            since = age(parse_time(found.get("lastTransitionTime")), now)
            yield kind, f"{status}, {text(found.get('reason'))}, for {since}: {text(found.get('message'))}"


def _history(terminal: Terminal, schedule: Schedule, now: float) -> None:
    zoned, cells = zone(schedule), []
    for sweep in schedule.sweeps:
        took = duration(sweep.finished - sweep.started) if sweep.finished is not None and sweep.started else "-"
        counts = [count(getattr(sweep, name)) for name in ("planned", *OUTCOMES)]
        bad = sweep.state not in (SweepState.COMPLETED, SweepState.SUPERSEDED) and sweep.state.settled
        moment = when(sweep.tick, now, zoned).partition(" (")[0]
        cells.append([Cell(moment), Cell(str(sweep.state), "bad" if bad else ""), *map(Cell, counts), Cell(took)])
    if cells:
        terminal.out.print(Text("Sweeps", style="bold"))
        width = width_of(terminal)
        show_rows(terminal, layout_of(HISTORY, cells, width), cells)
