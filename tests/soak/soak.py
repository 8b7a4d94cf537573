"""The soak: schedules sweep a constant inflow while one part after another fails. At the end nothing may be lost, repeated or left behind.

The same seed gives the same faults in the same order. Which pod is hit also depends on what runs at that moment.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.cluster.testbed import REPOSITORY, Bed
from tests.kits.diagnostics import dump
from tests.kits.kube_client import Cluster
from tests.kits.polling import eventually
from tests.soak.databases import RATE, Inflow
from tests.soak.faults import KINDS, Faults
from tests.soak.observer import Observer
from tests.soak.verdict import levels, problems, unfinished
from tests.soak.world import World, soak_world

FOLDER = REPOSITORY / ".e2e" / "soak"  # reports, and the diagnostics of what went wrong
RECOVERY = 400.0  # seconds until everything works again after a fault
NOT_BEHIND = 600.0  # seconds until nothing is left to sweep after the inflow ended, besides two periods


@dataclass(frozen=True)
class Settings:
    """``pause``: seconds from one fault to the next, at least. ``alone``: nobody else uses the test bed."""

    minutes: float
    schedules: int
    seed: int
    pause: float
    alone: bool


@dataclass(frozen=True)
class Happened:
    """One fault: when it began, and how many seconds it lasted and the recovery took after its end."""

    at: float
    kind: str
    what: str
    outage: float
    recovery: float


def soak(cluster: Cluster, bed: Bed, settings: Settings, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run it, and return the report for JSON. ``problems`` in it is empty if everything is as it should be."""
    began = time.monotonic()
    with soak_world(cluster, settings.schedules) as world:
        say(f"{settings.schedules} schedules are Ready after {time.monotonic() - began:.0f} s; seed {settings.seed}")
        report: dict[str, Any] = {}
        try:
            report = _observed(world, bed, settings, say)
        finally:
            if report.get("problems", True):
                for app in world.apps:
                    dump(app.namespace, FOLDER / app.namespace.name)
        return report


def _observed(world: World, bed: Bed, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    with ExitStack() as ending:
        observer, inflows = Observer(world, bed), [Inflow(each) for each in world.databases]
        threads: list[Observer | Inflow] = [observer, *inflows]
        for thread in threads:
            thread.start()
            ending.callback(thread.stop)
        faults = Faults(world, random.Random(settings.seed), bed if settings.alone else None)
        happened = _storm(world, faults, observer, settings, say)
        for each in inflows:
            each.stop()
        ended = time.monotonic()
        _until_finished(world, observer)
        say(f"all rows are swept {time.monotonic() - ended:.0f} s after the inflow ended")
        return _report(world, observer, faults, happened, settings)


def _until_finished(world: World, observer: Observer) -> None:
    """Wait until the schedules have swept everything at their own ticks."""
    patience = NOT_BEHIND + 2 * max(lane.every for app in world.apps for lane in app.lanes)
    eventually("nothing is left to sweep", patience, lambda: _answer(world, _behind) == 0)
    rows = world.rows()
    observer.end()  # ticks go on: the report is about the moment at which everything was well

    def finished() -> bool:
        observer.poll()
        return not list(unfinished(rows, observer.seen)) and not any(app.problems() for app in world.apps)

    eventually("the queues have nothing but dead letters, and every schedule is Ready and keeps up", patience, finished)


def _storm(
    world: World, faults: Faults, observer: Observer, settings: Settings, say: Callable[[str], None]
) -> list[Happened]:
    """Inject one fault after the other, each after the recovery from the one before, and each kind at least once."""
    began, happened = time.monotonic(), list[Happened]()
    kinds = faults.kinds()
    while (at := time.monotonic() - began) < 60 * settings.minutes or len(happened) < len(KINDS):
        kind = next(kinds)
        what = faults.inject(kind)
        outage = time.monotonic() - began - at
        newest = eventually("both databases respond", RECOVERY, lambda: _answer(world, _newest))
        after = f"after {kind}, {what}: every quick lane sweeps a new row"
        eventually(after, RECOVERY, lambda newest=newest: _recovered(world, newest))  # type: ignore[misc]
        recovery = time.monotonic() - began - at - outage
        happened.append(Happened(round(at), kind, what, round(outage, 1), round(recovery, 1)))
        say(_progress(world, observer, happened[-1]))
        left = settings.pause - (time.monotonic() - began - at)
        if left > 0:
            time.sleep(left)
    return happened


def _newest(world: World) -> list[dict[str, int]]:
    return [each.newest() for each in world.databases]


def _behind(world: World) -> int:
    return sum(each.behind() for each in world.databases)


def _answer(world: World, ask: Callable[[World], Any]) -> Any:
    """What ``ask`` returns; None while a database or the API server does not respond."""
    try:
        return ask(world)
    except (psycopg.Error, ApiException, HTTPError):
        return None


def _recovered(world: World, newest: list[dict[str, int]]) -> bool:
    def recovered(_: World) -> bool:
        swept = all(each.swept_after(before) for each, before in zip(world.databases, newest, strict=True))
        return swept and all(app.leader() for app in world.apps)

    return bool(_answer(world, recovered))


def _progress(world: World, observer: Observer, last: Happened) -> str:
    behind = _answer(world, _behind)
    memory = [
        samples[-1][1] >> 20 for name, samples in sorted(observer.seen.memory.items()) if name.endswith("/controller")
    ]
    sweeps = sum(map(len, observer.seen.sweeps.values()))
    return (
        f"{last.at / 60:6.1f} min  {last.kind:10} {last.what}: {last.outage:.0f} s, recovered after {last.recovery:.1f} s; "
        f"{sweeps} sweeps, {behind} rows behind, controllers {' and '.join(map(str, memory))} MiB"
    )


def _report(
    world: World, observer: Observer, faults: Faults, happened: list[Happened], settings: Settings
) -> dict[str, Any]:
    rows, seen, length = world.rows(), observer.seen, 60 * settings.minutes
    states = Counter(str(sweep.state) for found in seen.sweeps.values() for sweep in found.values())
    recoveries: dict[str, list[float]] = defaultdict(list)
    for each in happened:
        recoveries[each.kind].append(each.recovery)
    return {
        "settings": asdict(settings) | {"rowsPerSecond": RATE * settings.schedules},
        "faults": [asdict(each) for each in happened],
        "recovery": {kind: {"faults": len(each), "longest": max(each)} for kind, each in sorted(recoveries.items())},
        "rows": {
            "inserted": sum(each.inserted for each in rows.values()),
            "written": sum(each.written for each in rows.values()),
            "writes": sum(each.writes for each in rows.values()),
            "dead": sum(each.defect for each in rows.values()),
        },
        "effects": world.received(),
        "sweeps": dict(states),
        "memoryMiB": {
            name: {"middle": middle >> 20, "last": last >> 20} for name, (middle, last) in levels(seen, length).items()
        },
        "restarts": {"injected": faults.restarts, "apiServerFaults": faults.api_faults},
        "problems": problems(world, rows, seen, faults, length),
    }
