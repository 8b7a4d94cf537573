"""How many jobs does one worker process handle, compared with other job queues?

    python -m bench.queue --install       # once: the peers, pinned, into a folder of their own in the user's cache
    python -m bench.queue                 # as in RESULTS.md: minutes
    python -m bench.queue --smoke         # seconds, without peers; the figures mean nothing
    python -m bench.queue --json out.json
    python -m bench.queue --no-peers --rounds 9 --beside DIR    # another version, checked out in DIR with its .venv

Each figure is measured on a server of its own. Contestants take turns and medians are compared, so that a slow moment of the machine affects all of
them.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import queue_competitors as competitors
from bench.command_line import make_parser, options_of, write_figures
from bench.peers.probe import BATCH, Settings
from bench.queue_competitors import Contestant
from tests.kits.servers import Server, binaries

Say = Callable[[str], None]
NAPPERS = 100  # concurrency of the jobs that nap


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int = 5
    jobs: int = 150_000  # no-op jobs of Kubesweep
    naps: int = 25_000
    picks: int = 100
    warm: int = 500  # jobs, and a tenth as many picks, that are not counted
    peers: bool = True
    drains: bool = True
    beside: Path | None = None


SMOKE = Options(rounds=1, jobs=4_000, naps=1_000, picks=10, warm=100, peers=False)


@dataclass(slots=True)
class Figures:
    """One contestant, one figure a round; rates are jobs/s, cpu is seconds per 1,000 jobs, picks are seconds."""

    enqueue: list[float] = field(default_factory=list)
    noop: list[float] = field(default_factory=list)
    worker_cpu: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    nap: list[float] = field(default_factory=list)
    picks: list[float] = field(default_factory=list)

    def pick(self, share: float) -> float:
        """A quantile of the picks of all rounds."""
        return sorted(self.picks)[min(len(self.picks) - 1, int(share * len(self.picks)))]


@contextmanager
def server() -> Iterator[Server]:
    """An empty server with the durability that the docs recommend."""
    kind = "redis" if "redis" in binaries() else "valkey"
    made = Server(kind, appendonly="yes", appendfsync="everysec").start()
    try:
        yield made
    finally:
        made.remove()


def drain(one: Contestant, kind: str, concurrency: int, jobs: int, warm: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fill a queue, then let a new worker empty it. Returns what both reported."""
    with server() as store:
        # More jobs than are counted, so that the queue does not run empty during the measurement.
        all_ = -(-(jobs + warm + concurrency) // BATCH) * BATCH
        filled = one.run("fill", Settings(store.port, kind, all_, 0, concurrency))
        with one.worker(Settings(store.port, kind, jobs, warm, concurrency)) as words:
            return filled, next(words)


def picks(one: Contestant, options: Options) -> list[float]:
    """Seconds between sending a job and the start of its function in an idle worker."""
    with server() as store:
        settings = Settings(store.port, "pick", options.picks, options.warm // 10, one.concurrency)
        one.run("fill", replace(settings, jobs=1, warm=0))
        with one.worker(settings) as words:
            assert next(words)["ready"]
            sent = one.run("trickle", settings)["sent"]
            picked = next(said["picked"] for said in words if "picked" in said)
    return [at - was for was, at in zip(sent, picked, strict=True)][settings.warm :]


def turn(one: Contestant, options: Options, figures: Figures) -> None:
    """One round of one contestant."""
    if options.drains:
        drains(one, options, figures)
    figures.picks += picks(one, options)


def drains(one: Contestant, options: Options, figures: Figures) -> None:
    filled, noop = drain(one, "noop", one.concurrency, one.jobs, options.warm)
    figures.enqueue.append(filled["jobs"] / filled["seconds"])
    figures.noop.append(noop["jobs"] / noop["seconds"])
    figures.worker_cpu.append(1000 * noop["worker_cpu"] / noop["jobs"])
    figures.server_cpu.append(1000 * noop["server_cpu"] / noop["jobs"])
    _, nap = drain(one, "nap", NAPPERS, one.naps, options.warm)
    figures.nap.append(nap["jobs"] / nap["seconds"])


def contest(options: Options, say: Say) -> dict[str, Figures]:
    entrants = [competitors.kubesweep(options.jobs, options.naps), *(competitors.peers() if options.peers else ())]
    if options.beside is not None:
        entrants.append(competitors.another(options.beside, options.jobs, options.naps))
    found = {one.name: Figures() for one in entrants}
    for number in range(options.rounds):
        first = number % len(entrants)  # each goes first in turn
        for one in entrants[first:] + entrants[:first]:
            turn(one, options, found[one.name])
            say(f"round {number + 1}, load {os.getloadavg()[0]:.1f}: {one.name:10} {_latest(found[one.name])}")
    return found


def _latest(f: Figures) -> str:
    pick_up = f"pick-up {1000 * statistics.median(f.picks):.2f} ms"
    return (
        pick_up
        if not f.noop
        else (
            f"enqueue {f.enqueue[-1]:,.0f}/s, no-op {f.noop[-1]:,.0f}/s, 10 ms {f.nap[-1]:,.0f}/s, "
            f"cpu {f.worker_cpu[-1]:.4f} + {f.server_cpu[-1]:.4f} s/1,000, {pick_up}"
        )
    )


def table(found: dict[str, Figures]) -> str:
    """The report as Markdown."""
    lines = [
        "| | no-op jobs/s | lowest..highest | enqueue/s | 10 ms jobs/s | pick-up p50 / p99, ms | CPU s per 1,000: worker | server |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, f in found.items():
        pick = f"{1000 * f.pick(0.5):.2f} / {1000 * f.pick(0.99):.2f}"
        if not f.noop:
            lines.append(f"| {name} | | | | | {pick} | | |")
            continue
        spread = f"{min(f.noop):,.0f}..{max(f.noop):,.0f}"
        rates = " | ".join(f"{statistics.median(rates):,.0f}" for rates in (f.enqueue, f.nap))
        cpu = " | ".join(f"{statistics.median(cpu):.4f}" for cpu in (f.worker_cpu, f.server_cpu))
        lines.append(f"| {name} | {statistics.median(f.noop):,.0f} | {spread} | {rates} | {pick} | {cpu} |")
    return "\n".join(lines)


def ratios(ours: Figures, theirs: Figures) -> str:
    """This version by the other one, round by round."""
    pairs = {
        "no-op jobs/s": (ours.noop, theirs.noop),
        "10 ms jobs/s": (ours.nap, theirs.nap),
        "worker CPU": (ours.worker_cpu, theirs.worker_cpu),
        "server CPU": (ours.server_cpu, theirs.server_cpu),
    }
    lines = []
    for name, (mine, other) in pairs.items():
        found = sorted(a / b for a, b in zip(mine, other, strict=True))
        if found:
            lines.append(f"- {name}: {statistics.median(found):.3f} ({found[0]:.3f}..{found[-1]:.3f})")
    return "\n".join(lines)


def parse(arguments: Sequence[str]) -> tuple[Options, Path | None, bool]:
    parser = make_parser("queue", __doc__, "few jobs, one round, no peers")
    parser.add_argument("--install", action="store_true", help="install the peers into the user's cache, and end")
    parser.add_argument("--rounds", type=int, help="turns of each contestant")
    parser.add_argument("--jobs", type=int, help="no-op jobs of Kubesweep in a turn")
    parser.add_argument("--picks", type=int, help="jobs in a turn whose pick-up is timed")
    parser.add_argument(
        "--picks-only", action="store_false", dest="drains", default=None, help="time nothing but the pick-up"
    )
    parser.add_argument("--beside", type=Path, metavar="DIR", help="also the Kubesweep that is checked out there")
    parser.add_argument("--no-peers", action="store_false", dest="peers", default=None, help="only Kubesweep")
    given = vars(parser.parse_args(arguments))
    install = given.pop("install")
    options, file = options_of(given, Options(), SMOKE)
    return options, file, install


def main(arguments: Sequence[str] | None = None) -> None:
    options, file, install = parse(sys.argv[1:] if arguments is None else arguments)
    if install:
        return competitors.install()
    if options.peers and not competitors.installed():
        sys.exit("the peers are not installed: python -m bench.queue --install, or go on with --no-peers")
    found = contest(options, lambda line: print(line, file=sys.stderr, flush=True))
    print(table(found))
    if options.beside is not None:
        print(
            f"\nThis version by the other, median of the rounds:\n\n{ratios(found['kubesweep'], found[str(options.beside)])}"
        )
    around = {"python": platform.python_version(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    figures = {
        "options": asdict(options) | {"beside": str(options.beside or "")},
        "surroundings": around,
        "figures": {n: asdict(f) for n, f in found.items()},
    }
    write_figures(file, figures)
    return None


if __name__ == "__main__":
    main()
