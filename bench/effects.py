"""How fast are effects, compared with a queue that has a job for each row?

    python -m bench.queue --install                  # once: the peers
    python -m bench.effects --rounds 3               # as in RESULTS.md
    python -m bench.effects --smoke                  # seconds, without peers; the figures mean nothing

The rows are stale rows of one table on PostgreSQL. The effect is a handler that does nothing, one that waits for 5 ms, or a webhook to a fast
receiver. The peers read pages of 1,000 keys, enqueue a job for each, and run the effect and one UPDATE in each job; a producer and a worker
process share the cores. Contestants take turns, so that a slow moment of the machine affects all of them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import sweep
from bench.command_line import make_parser, options_of, write_figures
from bench.effect_contestants import (
    BATCHED,
    BULLMQ,
    CELERY,
    KUBESWEEP,
    PROCRASTINATE,
    Contestant,
    cpu,
    processes,
    say_go,
)
from bench.peers.effects import STALE, EffectSettings
from bench.queue import server as redis_server
from bench.servers import Server, postgres

Say = Callable[[str], None]
NOTHING, PAUSE, WEBHOOK = "nothing", "pause", "webhook"
BARE = "bare client"
ANY_STALE = f"SELECT EXISTS (SELECT FROM conversations WHERE {STALE})"
POLL_INTERVAL = 0.02
PATIENCE = 600.0  # seconds that one turn may take


@dataclass(frozen=True, slots=True)
class Options:
    rows: int = 200_000
    rounds: int = 3
    concurrency: int = 100  # effects at once, of all jobs together
    effects: tuple[str, ...] = (NOTHING, PAUSE, WEBHOOK)
    peers: bool = True


SMOKE = Options(rows=2_000, rounds=1, peers=False)


@dataclass(slots=True)
class Figures:
    """One figure a round: rows/s, and milliseconds of processor time for each 1,000 rows of programs, queue and database."""

    rates: list[float] = field(default_factory=list)
    programs: list[float] = field(default_factory=list)
    queue: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)


def contestants(effect: str, peers: bool) -> tuple[Contestant, ...]:
    batched = (BATCHED,) if effect == WEBHOOK else ()
    others = (BULLMQ, CELERY, *(() if effect == WEBHOOK else (PROCRASTINATE,))) if peers else ()
    return (KUBESWEEP, *batched, *others)


def measure(server: Server, one: Contestant, effect: str, options: Options, found: Figures) -> None:
    """One turn: a fresh table, a fresh queue, and the time until no row is stale."""
    rows = sweep.build(server, max(100, round(options.rows * one.share)), 1.0)
    with server.fresh() as database, server.connect(database) as connection, redis_server() as store:
        connection.execute("SELECT count(*), sum(length(body)) FROM conversations")
        settings = EffectSettings(effect, server.url(database), store.port, options.concurrency)
        with one.run(settings) as started:
            roots = ([each.pid for each in started.processes], [store.pid], [server.pid])
            before, began = [cpu(*pids) for pids in roots], time.monotonic()
            started.go()
            while connection.execute(ANY_STALE).fetchone() == (True,):
                if time.monotonic() - began > PATIENCE:
                    raise RuntimeError(f"{one.name}: rows are still stale after {PATIENCE:g} s")
                time.sleep(POLL_INTERVAL)
            found.rates.append(rows / (time.monotonic() - began))
            for figures, pids, was in zip((found.programs, found.queue, found.database), roots, before, strict=True):
                figures.append((cpu(*pids) - was) * 1e6 / rows)


def measure_bare(url: str, options: Options, found: Figures) -> None:
    """The same requests in a loop, without database and queue."""
    command = (sys.executable, "-m", "bench.bare_client", url, str(options.rows), str(options.concurrency))
    with processes(command) as [client]:
        before = cpu(client.pid)
        say_go(client)
        assert client.stdout is not None
        found.rates.append(options.rows / float(client.stdout.readline()))
        found.programs.append((cpu(client.pid) - before) * 1e6 / options.rows)


@contextmanager
def receiver() -> Iterator[str]:
    process = subprocess.Popen((sys.executable, "-m", "bench.receiver"), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
    finally:
        process.terminate()
        process.wait()


def contest(options: Options, say: Say) -> dict[str, dict[str, Figures]]:
    """The figures of each contestant, for each effect."""
    found: dict[str, dict[str, Figures]] = {}
    with postgres() as server, receiver() as url:
        for turn in range(options.rounds):
            for effect in options.effects:
                of_effect, address = found.setdefault(effect, {}), url if effect == WEBHOOK else effect
                entrants = contestants(effect, options.peers)
                for one in entrants[turn % len(entrants) :] + entrants[: turn % len(entrants)]:
                    measure(server, one, address, options, of_effect.setdefault(one.name, Figures()))
                    say(_latest(turn, effect, one.name, of_effect[one.name]))
                if effect == WEBHOOK:
                    measure_bare(url, options, of_effect.setdefault(BARE, Figures()))
                    say(_latest(turn, effect, BARE, of_effect[BARE]))
    return found


def _latest(turn: int, effect: str, name: str, f: Figures) -> str:
    return f"round {turn + 1}, load {os.getloadavg()[0]:.1f}, {effect}: {name:22} {f.rates[-1]:10,.0f} rows/s, {f.programs[-1]:8.1f} ms CPU"


def table(found: dict[str, dict[str, Figures]]) -> str:
    """The report as Markdown. Ratios are medians of the ratios of each round."""
    lines = []
    for effect, of_effect in found.items():
        lines += [
            "",
            f"### {effect}",
            "",
            "| | rows/s, median | lowest..highest | kubesweep / this | CPU ms per 1,000: programs | queue | database |",
        ]
        lines += ["|---|---:|---:|---:|---:|---:|---:|"]
        ours = of_effect[KUBESWEEP.name].rates
        for name, f in of_effect.items():
            ratio = statistics.median(mine / other for mine, other in zip(ours, f.rates, strict=True))
            costs = " | ".join(f"{statistics.median(c):.0f}" if c else "" for c in (f.programs, f.queue, f.database))
            spread = f"{min(f.rates):,.0f}..{max(f.rates):,.0f}"
            lines.append(f"| {name} | {statistics.median(f.rates):,.0f} | {spread} | {ratio:.2f} | {costs} |")
    return "\n".join(lines).strip()


def parse(arguments: Sequence[str]) -> tuple[Options, Path | None]:
    parser = make_parser("effects", __doc__, "few rows, one round, no peers")
    parser.add_argument("--rows", type=int, help="stale rows; slow peers get a part of them")
    parser.add_argument("--rounds", type=int, help="turns of each contestant")
    parser.add_argument("--effects", nargs="+", choices=(NOTHING, PAUSE, WEBHOOK), help="only these")
    parser.add_argument("--no-peers", action="store_false", dest="peers", default=None, help="only Kubesweep")
    return options_of(vars(parser.parse_args(arguments)), Options(), SMOKE)


def main(arguments: Sequence[str] | None = None) -> None:
    options, file = parse(sys.argv[1:] if arguments is None else arguments)
    found = contest(options, lambda line: print(line, file=sys.stderr, flush=True))
    print(table(found))
    figures = {effect: {name: asdict(f) for name, f in of_effect.items()} for effect, of_effect in found.items()}
    write_figures(file, {"options": asdict(options), "figures": figures})


if __name__ == "__main__":
    main()
