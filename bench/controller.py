"""What does the controller cost with many SweepSchedules, beside kopf's plain loop of events?

    python -m bench.controller                          # as in RESULTS.md: an hour; compiles kube-apiserver once
    python -m bench.controller --schedules 1000         # ten minutes
    python -m bench.controller --smoke                  # a minute; the figures mean nothing
    python -m bench.controller --json out.json

Both run on the same kube-apiserver with the same objects. The controller first creates all children, then both are
started in turns. ``Served`` means that a schedule has its four children and a status of its present generation.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.command_line import make_parser, options_of, write_figures
from bench.controller_contestants import Contestant, Controller, KopfLoop, RestartedController
from bench.controller_world import World, world


@dataclass(frozen=True, slots=True)
class Options:
    schedules: tuple[int, ...] = (1_000, 10_000)
    rounds: int = 3  # restarts of each contestant
    idle: float = 60.0  # seconds
    settle: float = 35.0  # seconds without a write that count as idle; statuses follow counts for 30 s


SMOKE = Options(schedules=(20,), rounds=1, idle=2.0, settle=1.0)


@dataclass(slots=True)
class Figures:
    """One contestant with one number of schedules, one figure for each start.

    ``resident`` and ``peak`` are MiB after the idle time, ``start`` is seconds until all are served (of kopf's loop: seen).
    ``cpu`` is seconds of processor time, and ``writes`` requests, both for each idle minute.
    """

    resident: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    start_cpu: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)


FIRST, AGAIN, LOOP = "controller, nothing exists yet", "controller, restarted", "kopf's plain loop"
Contest = dict[str, Figures]


async def measure(options: Options, around: World, one: Contestant, figures: Figures) -> None:
    """One start of one contestant, and its idle time."""
    async with one.started(around) as process:
        figures.start.append(await one.serve(around, process))
        figures.start_cpu.append(process.cpu())
        await one.finish(around)
        await process.until(around.ready)
        await until_silent(around, options.settle)
        cpu, writes = process.cpu(), around.writes()
        await asyncio.sleep(options.idle)
        minutes = options.idle / 60
        figures.cpu.append((process.cpu() - cpu) / minutes)
        figures.writes.append((around.writes() - writes) / minutes)
        figures.resident.append(process.memory("VmRSS"))
        figures.peak.append(process.memory("VmHWM"))


async def until_silent(around: World, seconds: float) -> None:
    """Wait until nothing was written for so long."""
    before, now = -1, around.writes()
    while before != now:
        await asyncio.sleep(seconds)
        before, now = now, around.writes()


async def contest(options: Options, schedules: int) -> Contest:
    found = {name: Figures() for name in (FIRST, AGAIN, LOOP)}
    async with world(schedules) as around:
        await turn(options, around, Controller(), FIRST, found)
        for number in range(options.rounds):
            for name in (AGAIN, LOOP) if number % 2 else (LOOP, AGAIN):
                one = RestartedController(around) if name == AGAIN else KopfLoop(schedules)
                await turn(options, around, one, name, found)
    return found


async def turn(options: Options, around: World, one: Contestant, name: str, found: Contest) -> None:
    await measure(options, around, one, found[name])
    latest = ", ".join(f"{what} {figures[-1]:.1f}" for what, figures in asdict(found[name]).items())
    load = os.getloadavg()[0]
    print(f"{around.schedules:,} schedules, load {load:.1f}: {name}: {latest}", file=sys.stderr, flush=True)


def table(found: dict[int, Contest]) -> str:
    """The report as Markdown."""
    lines = [
        "| | schedules | resident, MiB | peak, MiB | start to all served, s | CPU s until then | CPU s a minute, idle | writes a minute, idle |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for schedules, contest_ in found.items():
        for name, f in contest_.items():
            if not f.start:  # no rounds
                continue
            cells = (
                f"{statistics.median(f.resident):,.0f}",
                f"{max(f.peak):,.0f}",
                f"{statistics.median(f.start):,.1f}",
                f"{statistics.median(f.start_cpu):,.1f}",
                f"{statistics.median(f.cpu):.2f}",
                f"{max(f.writes):,.0f}",
            )
            lines.append(f"| {name} | {schedules:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def parse(arguments: Sequence[str]) -> tuple[Options, Path | None]:
    parser = make_parser("controller", __doc__, "few schedules, one round")
    parser.add_argument("--schedules", type=int, action="append", help="how many; may be repeated")
    parser.add_argument("--rounds", type=int, help="restarts of each contestant")
    parser.add_argument("--idle", type=float, help="seconds of the idle time")
    return options_of(vars(parser.parse_args(arguments)), Options(), SMOKE)


async def run(options: Options) -> dict[int, Contest]:
    return {schedules: await contest(options, schedules) for schedules in options.schedules}


def main(arguments: Sequence[str] | None = None) -> None:
    options, file = parse(sys.argv[1:] if arguments is None else arguments)
    found = asyncio.run(run(options))
    print(table(found))
    figures = {str(number): {name: asdict(f) for name, f in one.items()} for number, one in found.items()}
    write_figures(file, {"options": asdict(options), "figures": figures})


if __name__ == "__main__":
    main()
