"""How fast is a sweep, compared with one UPDATE statement of the same rows and with the loop that it replaces?

    python -m bench.sweep                 # as in RESULTS.md: minutes, and 4 GB of disk
    python -m bench.sweep --smoke         # seconds; the figures mean nothing
    python -m bench.sweep --json out.json

Every run starts from a copy of one template database. Competitors take turns and medians are compared, so that a slow moment of the machine affects
all of them.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from bench import competitors, kubesweep_sweep
from bench.command_line import make_parser, options_of, write_figures
from bench.pages import PageAccess, measure_pages
from bench.servers import Server, postgres

HERE = Path(__file__).parent
STATEMENT, LOOP, SNAPSHOT = "one UPDATE", "the loop", " with an old snapshot"

Say = Callable[[str], None]
Run = Callable[[str], tuple[int, float]]  # database -> rows, seconds


@dataclass(frozen=True, slots=True)
class Options:
    rows: int = 1_000_000
    stale: tuple[float, ...] = (0.5, 0.007)  # shares
    rounds: int = 5
    workers: tuple[int, ...] = (1, 2)
    batch_rows: int = 1000
    concurrency: tuple[int, ...] = (1, 2)  # worker.concurrency; 2 is its default
    loop_rows: int = 10_000
    sparse_rows: int = 10_000_000
    sparse_stale: tuple[int, ...] = (1_000, 10_000)


SMOKE = Options(
    rows=20_000,
    stale=(0.5,),
    rounds=1,
    workers=(2,),
    concurrency=(2,),
    loop_rows=200,
    sparse_rows=50_000,
    sparse_stale=(100, 1_000),
)


@dataclass(slots=True)
class Contest:
    """Rows/s of each competitor over one table, one figure a round."""

    name: str
    stale: int
    rates: dict[str, list[float]] = field(default_factory=dict)

    def median(self, contestant: str) -> float:
        return statistics.median(self.rates[contestant])


def kubesweep_label(workers: int, concurrency: int) -> str:
    each = f"{concurrency} job{'s' if concurrency > 1 else ''} at a time"
    return f"sweep, {workers} worker{'s' if workers > 1 else ''}, {each}"


def build(server: Server, rows: int, share: float) -> int:
    """Fill the template. Returns how many rows are stale."""
    with server.connect(server.template()) as connection:
        connection.execute((HERE / "table.sql").read_bytes())
        connection.execute((HERE / "fill.sql").read_bytes(), {"rows": rows, "per_million": round(share * 1e6)})
        for statement in (HERE / "index.sql").read_text().split(";"):
            if statement.strip():
                connection.execute(statement.encode())
        return competitors.count_stale(connection)


def runs(server: Server, options: Options) -> dict[str, Run]:
    sizes = {
        kubesweep_label(workers, jobs): kubesweep_sweep.Size(workers, options.batch_rows, jobs)
        for workers in options.workers
        for jobs in options.concurrency
    }
    return {
        STATEMENT: partial(competitors.statement, server),
        **{label: partial(kubesweep_sweep.sweep, server, size=size) for label, size in sizes.items()},
        LOOP: partial(competitors.loop, server, most=options.loop_rows),
    }


def contest(server: Server, options: Options, share: float, say: Say) -> Contest:
    """Measure all competitors on the same table, in turns; all but the loop also with an old snapshot open."""
    result = Contest(f"{share:.1%} of {options.rows:,} rows stale", build(server, options.rows, share))
    for turn in range(1, options.rounds + 1):
        for hold in (False, True):
            order = list(runs(server, options).items())
            for label, run in order[turn % len(order) :] + order[: turn % len(order)]:  # each goes first in turn
                if hold and label == LOOP:
                    continue
                most = options.loop_rows if label == LOOP else result.stale
                rate = race(server, run, hold, min(most, result.stale))
                label += SNAPSHOT if hold else ""
                result.rates.setdefault(label, []).append(rate)
                say(f"{result.name}, round {turn}: {label:62} {rate:10,.0f} rows/s")
    return result


def race(server: Server, run: Run, hold: bool, expected: int) -> float:
    """Rows/s of one competitor on a fresh copy that is in memory."""
    with server.fresh() as name:
        with server.connect(name) as connection:
            connection.execute("SELECT count(*), sum(length(body)) FROM conversations")
        with competitors.old_snapshot(server, name, hold):
            rows, seconds = run(name)
    if not expected <= rows < expected + 100:  # the loop ends on a full round of 100
        raise RuntimeError(f"{rows} rows were written where {expected} were stale")
    return rows / seconds


def sparse(server: Server, options: Options, say: Say) -> list[PageAccess]:
    """The pages that complete sweeps of few rows access in a large table."""
    found = []
    size = kubesweep_sweep.Size(max(options.workers), options.batch_rows, max(options.concurrency))
    for stale in options.sparse_stale:
        build(server, options.sparse_rows, stale / options.sparse_rows)
        with server.fresh() as name:
            found.append(measure_pages(server, name, size))
        say(f"{found[-1]}")
    return found


def table(contests: Sequence[Contest], pages: Sequence[PageAccess], options: Options) -> str:
    """The report as Markdown."""
    lines = []
    for one in contests:
        lines += [
            "",
            f"### {one.name} ({one.stale:,})",
            "",
            "| | rows/s, median | lowest..highest | x one UPDATE | x the loop |",
        ]
        lines += ["|---|---:|---:|---:|---:|"]
        for label, rates in one.rates.items():
            median = one.median(label)
            spread = f"{min(rates):,.0f}..{max(rates):,.0f}"
            ratios = f"{median / one.median(STATEMENT):.2f} | {median / one.median(LOOP):,.1f}"
            lines.append(f"| {label} | {median:,.0f} | {spread} | {ratios} |")
    if pages:
        lines += ["", f"### Few stale among {options.sparse_rows:,}", ""]
        lines += ["| stale rows | pages of the table | table accesses | index accesses | accesses a row | seconds |"]
        lines += ["|---:|---:|---:|---:|---:|---:|"]
        lines += [
            f"| {p.stale:,} | {p.table_pages:,} | {p.heap:,} | {p.index:,} | {p.per_row:.1f} | {p.seconds:.2f} |"
            for p in pages
        ]
    return "\n".join(lines).strip()


def machine(server: Server) -> dict[str, object]:
    return {
        "postgres": server.version(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def measure(options: Options, say: Say) -> tuple[str, dict[str, object]]:
    """Run every measurement. Returns the report as Markdown and the figures for JSON."""
    with postgres() as server:
        around = machine(server)
        contests = [contest(server, options, share, say) for share in options.stale]
        pages = sparse(server, options, say) if options.sparse_rows else []
    figures: dict[str, object] = {
        "options": asdict(options),
        "surroundings": around,
        "contests": [asdict(one) for one in contests],
        "pages": [asdict(one) for one in pages],
    }
    return table(contests, pages, options), figures


def parse(arguments: Sequence[str]) -> tuple[Options, Path | None]:
    parser = make_parser("sweep", __doc__, "tiny tables, one round")
    parser.add_argument("--rows", type=int, help="rows of the table")
    parser.add_argument("--rounds", type=int, help="turns of each competitor")
    parser.add_argument("--batch-rows", type=int, help="limits.batchRows")
    parser.add_argument("--workers", type=int, nargs="+", help="numbers of worker processes, such as 1 2")
    parser.add_argument("--concurrency", type=int, nargs="+", help="values of worker.concurrency, such as 1 2")
    parser.add_argument("--loop-rows", type=int, help="rows after which the loop is stopped")
    parser.add_argument("--sparse-rows", type=int, help="rows of the table of the page count; 0 leaves it out")
    parser.add_argument("--stale", type=float, nargs="+", help="shares of stale rows, such as 0.5 0.007")
    return options_of(vars(parser.parse_args(arguments)), Options(), SMOKE)


def main(arguments: Sequence[str] | None = None) -> None:
    options, file = parse(sys.argv[1:] if arguments is None else arguments)
    report, figures = measure(options, lambda line: print(line, file=sys.stderr, flush=True))
    print(report)
    write_figures(file, figures)


if __name__ == "__main__":
    main()
