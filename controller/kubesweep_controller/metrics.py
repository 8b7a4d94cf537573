"""The controller's Prometheus metrics, in a registry of their own. docs/metrics.md lists them.

Metrics of a schedule repeat what its last reconcile observed. Labels are bounded: namespace, schedule and words of this project, no
error class and no key. A deleted schedule leaves no series behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kubesweep.errors import Damaged
from kubesweep.queue.model import Stats, SweepState
from kubesweep_controller.status.formatting import namespaced_name, parse_time
from kubesweep_controller.status.history import COUNTS
from kubesweep_controller.status.missed_ticks import counts_of
from kubesweep_controller.status.observation import Observation

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LABELS = ("namespace", "schedule")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class _Seen:
    stats: Stats | None
    status: Mapping[str, Any]


class Metrics:
    """``observe`` the result of a reconcile, ``forget`` a deleted schedule, ``text`` for a scrape."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._seen: dict[tuple[str, str], _Seen] = {}
        self.registry.register(_Schedules(self._seen))
        reg = self.registry
        self._seconds = Histogram(
            "kubesweep_reconcile_duration_seconds",
            "Duration of one reconcile of one schedule.",
            buckets=_SECONDS,
            registry=reg,
        )
        self._errors = Counter("kubesweep_reconcile_errors", "Reconciles that failed.", ["reason"], registry=reg)
        self._queue = Gauge("kubesweep_queue_up", "1 while the queue responds to the controller.", registry=reg)
        self._memory = Gauge(
            "kubesweep_queue_memory_bytes",
            "Memory that the keys of a namespace use in the queue.",
            ["namespace"],
            registry=reg,
        )
        self._scripts = Counter(
            "kubesweep_queue_scripts_killed", "Scripts that blocked the queue's server and were killed.", registry=reg
        )
        self._leader = Gauge("kubesweep_leader", "1 in the controller that holds the Lease.", registry=reg)

    def observe(self, observation: Observation, status: Mapping[str, Any]) -> None:
        """``status`` was built from this observation. While the queue is down, its last numbers stay."""
        key = namespaced_name(observation.body)
        before = self._seen.get(key)
        stats = observation.stats if observation.stats is not None else before.stats if before else None
        one = _Seen(stats, status)
        # Numbers of one schedule that cannot be exported must not fail the metrics of the others.
        try:
            for family in _families([(key, one)]):
                for sample in family.samples:
                    float(sample.value)
        except Exception as error:
            self.failed(type(error).__name__)
            self._seen.pop(key, None)
        else:
            self._seen[key] = one
        self._queue.set(0 if observation.stats is None and not isinstance(observation.outage, Damaged) else 1)

    def forget(self, namespace: str, name: str) -> None:
        self._seen.pop((namespace, name), None)

    def reconciled(self, seconds: float, error: str | None = None) -> None:
        """A reconcile took ``seconds``. ``error``: the class of its failure, one word, never a message."""
        self._seconds.observe(seconds)
        if error is not None:
            self._errors.labels(error).inc()

    def failed(self, error: str) -> None:
        """A part of a reconcile failed, and the rest of it continued."""
        self._errors.labels(error).inc()

    def queue_memory(self, sums: Mapping[str, int]) -> None:
        """Bytes by namespace."""
        self._memory.clear()
        for namespace, size in sums.items():
            self._memory.labels(namespace).set(size)

    def killed_script(self) -> None:
        self._scripts.inc()

    def leading(self, is_leader: bool) -> None:
        self._leader.set(1 if is_leader else 0)

    def text(self) -> bytes:
        """The exposition, in the format of ``CONTENT_TYPE``."""
        return generate_latest(self.registry)


class _Schedules(Collector):
    def __init__(self, seen: Mapping[tuple[str, str], _Seen]) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        return _families(sorted(self._seen.items()))


def _families(seen: _All) -> Iterator[Metric]:
    known = [(key, one.stats) for key, one in seen if one.stats is not None]
    yield from _queue(known)
    yield from _sweeps(seen)
    yield from _statuses(seen)


_Known = list[tuple[tuple[str, str], Stats]]
_All = list[tuple[tuple[str, str], _Seen]]


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"kubesweep_{name}", text, labels=(*LABELS, *labels))


def _queue(known: _Known) -> Iterator[Metric]:
    jobs = _gauge("queue_jobs", "Jobs in the queue: ready, running or delayed.", "state")
    dead = _gauge("dead_letters", "Rows that used up their attempts.")
    excluded = _gauge("excluded_rows", "Rows that sweeps leave alone: retrying or dead.")
    oldest = _gauge(
        "oldest_ready_timestamp_seconds", "When the oldest waiting job became ready; absent if no job waits."
    )
    last = _gauge("last_tick_timestamp_seconds", "Nominal time of the latest tick.")
    ticks = CounterMetricFamily(
        "kubesweep_ticks",
        "Ticks by the queue's answer: enqueued, duplicate, forbidden, late.",
        labels=(*LABELS, "answer"),
    )
    for key, stats in known:
        for state in ("ready", "running", "delayed"):
            jobs.add_metric((*key, state), getattr(stats, state))
        dead.add_metric(key, stats.dead)
        excluded.add_metric(key, stats.excluded)
        if stats.oldest_ready is not None:
            oldest.add_metric(key, stats.oldest_ready)
        if stats.last_tick is not None:
            last.add_metric(key, stats.last_tick)
        for answer, number in counts_of(stats.ticks).items():
            ticks.add_metric((*key, answer), number)
    yield from (jobs, dead, excluded, oldest, last, ticks)


def _sweeps(seen: _All) -> Iterator[Metric]:
    rows = _gauge(
        "last_sweep_rows",
        "Rows of the latest sweep by outcome: planned, applied, skipped, unconfirmed, retrying, dead.",
        "outcome",
    )
    state = _gauge("last_sweep_state", "1 for the state of the latest sweep.", "state")
    for key, one in seen:
        sweep = one.status.get("lastSweep") or {}
        if not sweep:
            continue
        for outcome in COUNTS:
            rows.add_metric((*key, outcome), int(sweep.get(outcome, 0)))
        for each in SweepState:
            state.add_metric((*key, str(each)), 1 if sweep.get("state") == each else 0)
    yield from (rows, state)


def _statuses(seen: _All) -> Iterator[Metric]:
    condition = _gauge("schedule_condition", "1 if the condition is True, else 0.", "type")
    success = _gauge("last_success_timestamp_seconds", "When a sweep last became Completed; absent if none did.")
    missed = _gauge(
        "last_missed_tick_timestamp_seconds", "The latest tick that started no sweep; absent if none was missed."
    )
    speed = _gauge(
        "throttle_ratio",
        "Share of its speed that a signal of the database leaves a sweep; absent if nothing slows it down.",
        "reason",
    )
    for key, one in seen:
        throttle = one.status.get("throttle") or {}
        if "percent" in throttle:
            speed.add_metric((*key, str(throttle.get("reason"))), int(throttle["percent"]) / 100)
        for each in one.status.get("conditions") or ():
            condition.add_metric((*key, str(each.get("type"))), 1 if each.get("status") == "True" else 0)
        for gauge, field in ((success, "lastSuccessfulTime"), (missed, "lastMissedTime")):
            at = parse_time(one.status.get(field))
            if at is not None:
                gauge.add_metric(key, at)
    yield from (condition, success, missed, speed)
