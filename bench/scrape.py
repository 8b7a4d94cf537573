"""What does a scrape of the controller cost, beside the JSON of the same data?

    python -m bench.scrape                      # as in RESULTS.md: some seconds
    python -m bench.scrape --smoke              # a second; the figures mean nothing

Every schedule has a running sweep, ten past ones, findings and a backlog, so it has every series. ``JSON`` is json.dumps of the
same numbers: for each schedule a dict with its names and every metric. The two take turns, and medians are compared. The memory
of the metrics is what they keep for the schedules, and what a scrape needs in addition, as tracemalloc counts it.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bench.command_line import make_parser, options_of, write_figures
from kubesweep.queue.model import Finding, PlanVersion, ScheduleRef, Stats, Sweep, SweepState, TickCounts
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.observation import Observation

NOW = 1_800_000_000.0
PLAN = PlanVersion(1, "5d41402abc4b2a76")


@dataclass(frozen=True, slots=True)
class Options:
    schedules: int = 1000
    rounds: int = 31


SMOKE = Options(schedules=20, rounds=3)


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds, bytes, MiB."""

    series: int
    text_bytes: int
    json_bytes: int
    text_ms: float
    json_ms: float
    ratio: float  # the median of those of each round
    observe_ms: float  # one schedule, after a reconcile
    kept_mib: float
    scrape_mib: float


def a_sweep(number: int, state: SweepState, **fields: Any) -> Sweep:
    at = NOW - 300 * number
    cutoff = datetime.fromtimestamp(at, UTC).isoformat(sep=" ")
    counts = {
        "planned": 100_000,
        "applied": 40_000 + number,
        "skipped": 12,
        "dead": 3,
        "stale": 120_000,
        "oldest": at - 60,
    }
    return Sweep(
        id=f"{number:032x}", tick=at - 1.5, plan=PLAN, started=at, cutoff=cutoff, state=state, **{**counts, **fields}
    )


def observation(number: int) -> Observation:
    name, namespace = f"close-abandoned-carts-{number}", f"team-{number // 50}"
    ref = ScheduleRef("0123abcd", namespace, name, f"8b5f6f0e-0000-4000-8000-{number:012d}")
    past = tuple(
        a_sweep(each, SweepState.COMPLETED, finished=NOW - 300 * each + 200, capped=True) for each in range(1, 11)
    )
    stats = Stats(
        known=True, ready=12, running=4, delayed=2, excluded=40, dead=3, oldest_ready=NOW - 5, last_tick=NOW - 1.5,
        ticks=TickCounts(120, 1, 2, 3), sweep=a_sweep(0, SweepState.RUNNING), history=past,
        findings=(Finding("SourceReady", True, "Checked", "fine", PLAN, NOW - 900),),
    )  # fmt: skip
    since = "2027-01-15T07:00:00Z"
    body = {
        "metadata": {"name": name, "namespace": namespace, "uid": ref.uid, "generation": 1},
        "status": {
            "lastMissedTime": since,
            "lastSuccessfulTime": since,
            "activeSchedule": {"name": "*/5 * * * *", "since": since},
        },
    }
    return Observation(body, NOW, ref, None, None, None, None, stats, None)


def data_of(text: str) -> list[dict[str, Any]]:
    """The numbers of the exposition, by schedule."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            if "schedule" not in labels:
                continue
            namespace, schedule = labels.pop("namespace"), labels.pop("schedule")
            one = found.setdefault((namespace, schedule), {"namespace": namespace, "schedule": schedule})
            if labels:
                one.setdefault(sample.name, {})[next(iter(labels.values()))] = sample.value
            else:
                one[sample.name] = sample.value
    return list(found.values())


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure(options: Options) -> Figures:
    observed = [(each, build_status(each)) for each in map(observation, range(options.schedules))]
    tracemalloc.start()
    metrics = Metrics()
    for each in observed:
        metrics.observe(*each)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    text = metrics.text()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    began = time.perf_counter()
    for each in observed:
        metrics.observe(*each)
    observing = (time.perf_counter() - began) / len(observed)
    data = data_of(text.decode())
    pairs = [(seconds(metrics.text), seconds(lambda: json.dumps(data))) for _ in range(options.rounds)]
    return Figures(
        series=sum(line.startswith("kubesweep_") for line in text.decode().splitlines()),
        text_bytes=len(text),
        json_bytes=len(json.dumps(data)),
        text_ms=statistics.median(pair[0] for pair in pairs) * 1000,
        json_ms=statistics.median(pair[1] for pair in pairs) * 1000,
        ratio=statistics.median(pair[0] / pair[1] for pair in pairs),
        observe_ms=observing * 1000,
        kept_mib=kept / 2**20,
        scrape_mib=(peak - kept) / 2**20,
    )


def table(found: Figures, options: Options) -> str:
    return "\n".join(
        [
            "| schedules | series | /metrics, ms | JSON, ms | ratio | text, MiB | kept, MiB | during a scrape, MiB | after a reconcile, ms |",
            "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
            f"| {options.schedules:,} | {found.series:,} | {found.text_ms:.1f} | {found.json_ms:.1f} | {found.ratio:.2f} | "
            f"{found.text_bytes / 2**20:.1f} | {found.kept_mib:.1f} | {found.scrape_mib:.1f} | {found.observe_ms:.2f} |",
        ]
    )


def parse(arguments: Sequence[str]) -> tuple[Options, Path | None]:
    parser = make_parser("scrape", __doc__, "few schedules and rounds")
    parser.add_argument("--schedules", type=int, help="how many")
    parser.add_argument("--rounds", type=int, help="scrapes")
    return options_of(vars(parser.parse_args(arguments)), Options(), SMOKE)


def main(arguments: Sequence[str] | None = None) -> None:
    options, file = parse(sys.argv[1:] if arguments is None else arguments)
    found = measure(options)
    print(table(found, options))
    write_figures(file, {"options": asdict(options), "figures": asdict(found)})


if __name__ == "__main__":
    main()
