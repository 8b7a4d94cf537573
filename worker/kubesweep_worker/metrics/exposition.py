"""Snapshots of workers as Prometheus' text. The only module of the worker that imports ``prometheus_client``; docs/metrics.md lists the
metrics.

Labels are bounded: namespace, schedule and words of this project, no error class, no key and no message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kubesweep_worker.recorder import Histogram, Snapshot

__all__ = ["exposition"]

LABELS = ("namespace", "schedule")


def exposition(snapshots: Sequence[Snapshot]) -> bytes:
    """The metrics of all workers of a process; each works on another schedule."""
    registry = CollectorRegistry()
    registry.register(_Workers(snapshots))
    return generate_latest(registry)


class _Workers(Collector):
    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily(
            "kubesweep_build_info", "1; the labels have the version.", labels=("version", "component")
        )
        build.add_metric((version("kubesweep"), "worker"), 1)
        return (build, *_counters(self._snapshots), *_histograms(self._snapshots), *_gauges(self._snapshots))


def _counters(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    rows = _counter(
        "rows",
        "Rows by outcome, as the queue counted them: applied, skipped, unconfirmed, dead; retrying counts each failure that is "
        "tried again.",
        "outcome",
    )
    phases = _counter(
        "phase_seconds",
        "Seconds of the worker's slots by phase: idle, claim, read, effect, write, settle, throttled.",
        "phase",
    )
    responses = _counter(
        "effect_responses",
        "Calls of the effect by answer: 2xx, 3xx, 4xx, 429, 5xx, timeout, connection (webhook); ok, error (handler).",
        "class",
    )
    for each in snapshots:
        _add(rows, each, each.rows)
        _add(phases, each, each.seconds)
        _add(responses, each, each.responses)
    yield from (rows, phases, responses)


def _histograms(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    waits = _histogram("job_wait_seconds", "From the moment when a job is ready to its claim.", "kind")
    durations = _histogram("job_duration_seconds", "From the claim of a job to its end.", "kind")
    calls = _histogram("effect_duration_seconds", "Duration of one call of the effect.")
    for each in snapshots:
        for family, found in ((waits, each.waits), (durations, each.durations)):
            for kind, histogram in found.items():
                _observe(family, (each.namespace, each.schedule, kind), histogram)
        if each.calls is not None:
            _observe(calls, (each.namespace, each.schedule), each.calls)
    yield from (waits, durations, calls)


def _gauges(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    batch = _gauge("batch_rows", "Rows that one transaction writes at most.")
    breaker = _gauge(
        "breaker_open",
        "1 while a circuit breaker keeps the worker from claiming jobs, or admits one at a time.",
        "breaker",
    )
    throttles = _gauge(
        "throttle_ratio",
        "Share of its speed that something leaves the worker; absent if nothing slows it down.",
        "reason",
    )
    for each in snapshots:
        batch.add_metric((each.namespace, each.schedule), each.batch_rows)
        _add(breaker, each, {"claim": each.breaker_open})
        _add(throttles, each, each.throttles)
    yield from (batch, breaker, throttles)


def _counter(name: str, text: str, label: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"kubesweep_worker_{name}", text, labels=(*LABELS, label))


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"kubesweep_worker_{name}", text, labels=(*LABELS, *labels))


def _histogram(name: str, text: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"kubesweep_worker_{name}", text, labels=(*LABELS, *labels))


def _add(family: CounterMetricFamily | GaugeMetricFamily, of: Snapshot, values: Mapping[str, float]) -> None:
    for label, value in values.items():
        family.add_metric((of.namespace, of.schedule, label), value)


def _observe(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    bounds = (*(str(bound) for bound in histogram.bounds), "+Inf")
    family.add_metric(labels, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)
