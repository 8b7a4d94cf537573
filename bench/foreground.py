"""How slow do the transactions of an application become while a million rows of its table are updated, deleted or archived?

    python -m bench.foreground                                # 1M of 5M rows: an hour, and 8 GB of disk
    python -m bench.foreground --rows 1000000 --stale 200000  # minutes
    python -m bench.foreground --smoke                        # seconds; the figures mean nothing

The application is pgbench at half of the rate that it reaches alone. It runs beside nothing, one statement, a loop of chunks
of 1,000 rows, Kubesweep with its defaults, and Kubesweep with ``source.health`` where this version has it. Each run starts from a copy
of one template database; contestants take turns, and medians are compared.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from bench import foreground_competitors as competitors
from bench.application import Load, application, capacity
from bench.command_line import make_parser, options_of, write_figures
from bench.foreground_competitors import Done
from bench.replay_lag import caught_up, replay_lag
from bench.servers import Server, postgres
from bench.sweep import HERE, machine

ALONE, STATEMENT, LOOP, SWEEP, HEALTH = "alone", "statement", "loop", "kubesweep", "health"
LABELS = {
    ALONE: "alone",
    STATEMENT: "one statement",
    LOOP: "loop of 1,000",
    SWEEP: "Kubesweep, defaults",
    HEALTH: "Kubesweep, health on",
}

Say = Callable[[str], None]
Run = Callable[[str], Done]  # database -> what was done


@dataclass(frozen=True, slots=True)
class Options:
    rows: int = 5_000_000
    stale: int = 1_000_000
    writes: tuple[str, ...] = tuple(competitors.WRITES)
    contestants: tuple[str, ...] = tuple(LABELS)
    rounds: int = 3
    seconds: int = 30  # of the application alone, and of measuring what it can do
    clients: int = 8
    workers: int = 1
    standby: bool = True
    settle: float = (
        3.0  # seconds that the application runs before the work begins, and after it ended to serve what is late
    )

    @property
    def load(self) -> Load:
        return Load(self.rows, self.rows // self.stale, self.clients)


SMOKE = Options(rows=20_000, stale=4_000, rounds=1, seconds=1, clients=2, settle=0.5)


@dataclass(slots=True)
class Figures:
    """Of one contestant, one value a round: seconds, milliseconds, and the application's transactions a second."""

    seconds: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    worst: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    lag_seconds: list[float] = field(default_factory=list)
    lag_megabytes: list[float] = field(default_factory=list)


Contest = dict[str, Figures]  # by contestant


def build(server: Server, options: Options) -> None:
    """Fill the template."""
    with server.connect(server.template()) as connection:
        connection.execute((HERE / "table.sql").read_bytes())
        connection.execute((HERE / "interleaved.sql").read_bytes(), {"rows": options.rows, "every": options.load.every})
        for statement in (HERE / "index.sql").read_text().split(";"):
            if statement.strip():
                connection.execute(statement.encode())
        connection.execute("CREATE TABLE conversations_archive (LIKE conversations, PRIMARY KEY (id))")


def runs(server: Server, write: str, options: Options) -> dict[str, Run]:
    """The contestants that were asked for and that this version has."""
    sweep = partial(competitors.kubesweep, server, write=write, workers=options.workers, idle=options.settle)
    found: dict[str, Run] = {
        ALONE: lambda database: competitors.nothing(options.seconds),
        STATEMENT: partial(competitors.statement, server, write=write),
        LOOP: partial(competitors.loop, server, write=write),
        SWEEP: sweep,
    }
    if competitors.knows_health():
        found[HEALTH] = partial(sweep, source=competitors.HEALTH)
    return {name: run for name, run in found.items() if name in options.contestants}


def contest(server: Server, write: str, rate: float, options: Options, say: Say) -> Contest:
    """Measure all contestants in turns."""
    order = list(runs(server, write, options).items())
    result: Contest = {name: Figures() for name, _ in order}
    for turn in range(options.rounds):
        first = turn % len(order) if order else 0  # each goes first in turn
        for name, run in order[first:] + order[:first]:
            race(server, run, rate, options, result[name], 0 if name == ALONE else options.rows // options.load.every)
            last = {key: round(values[-1], 3) for key, values in asdict(result[name]).items()}
            say(f"{write}, round {turn + 1}: {LABELS[name]:22} {last}")
    return result


def race(server: Server, run: Run, rate: float, options: Options, figures: Figures, expected: int) -> None:
    """Add the figures of one contestant on a fresh copy that is in memory."""
    with server.fresh() as name:
        warm(server, name)
        caught_up(server, int(options.standby))
        with application(server, name, options.load, rate) as app, replay_lag(server) as lag:
            competitors.nothing(options.settle)
            done = run(name)
            # Work of a moment is judged by the time after it too, which has more transactions.
            end = max(done.ended, done.began + options.settle)
            app.stop(end)
            found = app.latencies(done.began, end)
    if done.rows != expected:
        raise RuntimeError(f"{done.rows} rows were written where {expected} were stale")
    figures.seconds.append(done.ended - done.began)
    for name in ("p50", "p99", "worst", "rate"):
        getattr(figures, name).append(getattr(found, name))
    figures.lag_seconds.append(lag.seconds)
    figures.lag_megabytes.append(lag.megabytes)


def warm(server: Server, database: str) -> None:
    with server.connect(database) as connection:
        connection.execute("SELECT count(*), sum(length(body)) FROM conversations")


def table(contests: dict[str, Contest], rate: float, options: Options) -> str:
    """The report as Markdown."""
    lines = [f"The application runs at {rate:,.0f} transactions/s, half of what it reaches alone.", ""]
    head = (
        "p50, ms",
        "p99, ms",
        "lowest..highest p99",
        "worst, ms",
        "p99 x alone",
        "seconds",
        "x the loop",
        "transactions/s",
    )
    lag = ("replay lag, s", "MB") if options.standby else ()
    for write, one in contests.items():
        lines += [f"### {options.rows // options.load.every:,} of {options.rows:,} rows: {write}", ""]
        lines += ["| | " + " | ".join((*head, *lag)) + " |", "|---|" + "---:|" * len((*head, *lag))]
        lines += [f"| {LABELS[name]} | " + " | ".join(_cells(name, one, options)) + " |" for name in one]
        lines += [""]
    return "\n".join(lines).strip()


def _cells(name: str, one: Contest, options: Options) -> list[str]:
    found = {key: statistics.median(values) for key, values in asdict(one[name]).items()}
    took = "" if name == ALONE else f"{found['seconds']:.1f}"
    lag = [f"{max(one[name].lag_seconds):.2f}", f"{max(one[name].lag_megabytes):,.0f}"] if options.standby else []
    p99 = one[name].p99
    return [
        f"{found['p50']:.2f}",
        f"{found['p99']:.2f}",
        f"{min(p99):.2f}..{max(p99):.2f}",
        f"{found['worst']:.2f}",
        _ratio(found["p99"], one[ALONE].p99 if ALONE in one else []),
        took,
        _ratio(found["seconds"], one[LOOP].seconds if took and LOOP in one else []),
        f"{found['rate']:,.0f}",
        *lag,
    ]


def _ratio(value: float, base: list[float]) -> str:
    return f"{value / statistics.median(base):.2f}" if base else ""


def measure(options: Options, say: Say) -> tuple[str, dict[str, object]]:
    """Run every measurement. Returns the report as Markdown and the figures for JSON."""
    with postgres() as server, ExitStack() as stack:
        around = machine(server)
        build(server, options)
        if options.standby:
            stack.enter_context(server.standby())
        with server.fresh() as name:
            warm(server, name)
            most = capacity(server, name, options.load, options.seconds)
        say(f"the application reaches {most:,.0f} transactions/s alone")
        contests = {write: contest(server, write, most / 2, options, say) for write in options.writes}
    figures: dict[str, object] = {
        "options": asdict(options),
        "surroundings": around,
        "capacity": most,
        "contests": {write: {name: asdict(found) for name, found in one.items()} for write, one in contests.items()},
    }
    return table(contests, most / 2, options), figures


def parse(arguments: Sequence[str]) -> tuple[Options, Path | None]:
    parser = make_parser("foreground", __doc__, "a tiny table, one round")
    parser.add_argument("--rows", type=int, help="rows of the table")
    parser.add_argument("--stale", type=int, help="rows that are written; every n-th row of the table")
    parser.add_argument("--writes", nargs="+", choices=list(competitors.WRITES), help="what happens to them")
    parser.add_argument("--contestants", nargs="+", choices=list(LABELS), help="what runs beside the application")
    parser.add_argument("--rounds", type=int, help="turns of each contestant")
    parser.add_argument("--seconds", type=int, help="of the application alone, and of measuring what it can do")
    parser.add_argument("--clients", type=int, help="connections of the application")
    parser.add_argument("--workers", type=int, help="worker processes of Kubesweep")
    parser.add_argument("--no-standby", dest="standby", action="store_false", default=None, help="without a standby")
    return options_of(vars(parser.parse_args(arguments)), Options(), SMOKE)


def main(arguments: Sequence[str] | None = None) -> None:
    options, file = parse(sys.argv[1:] if arguments is None else arguments)
    report, figures = measure(options, lambda line: print(line, file=sys.stderr, flush=True))
    print(report)
    write_figures(file, figures)


if __name__ == "__main__":
    main()
