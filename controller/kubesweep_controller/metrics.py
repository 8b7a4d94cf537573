"""The controller's Prometheus metrics. docs/metrics.md lists them.

Metrics of a schedule repeat what its last reconcile observed, as :mod:`.schedule_metrics` writes them. A deleted schedule leaves no
series behind. All others are in a registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kubesweep.backlog import Backlog
from kubesweep.errors import Damaged
from kubesweep.queue.model import Stats
from kubesweep_controller.rows_total import RowsTotal
from kubesweep_controller.schedule_metrics import Observed, Texts, exposition, texts_of
from kubesweep_controller.status.formatting import namespaced_name
from kubesweep_controller.status.missed_ticks import previous_tick
from kubesweep_controller.status.observation import Observation, paused
from kubesweep_controller.status.throttle import slowed_by

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """``observe`` the result of a reconcile, ``forget`` a deleted schedule, ``text`` for a scrape."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._stats: dict[tuple[str, str], tuple[Stats, Backlog | None]] = {}
        self._texts: dict[tuple[str, str], Texts] = {}
        self._rows = RowsTotal()
        reg = self.registry
        self._seconds = Histogram(
            "kubesweep_reconcile_duration_seconds",
            "Duration of one reconcile of one schedule.",
            buckets=_SECONDS,
            registry=reg,
        )
        self._errors = Counter("kubesweep_reconcile_errors", "Reconciles that failed.", ["reason"], registry=reg)
        self._queue: Gauge | None = None  # unknown; a gauge would be 0, which is an outage
        self._memory = Gauge(
            "kubesweep_queue_memory_bytes",
            "Memory that the keys of a namespace use in the queue.",
            ["namespace"],
            registry=reg,
        )
        self._scripts = Counter(
            "kubesweep_queue_scripts_killed", "Scripts that blocked the queue's server and were killed.", registry=reg
        )
        build = Gauge(
            "kubesweep_build_info", "1, with the version of this program.", ["version", "component"], registry=reg
        )
        build.labels(version("kubesweep"), "controller").set(1)
        self._leader = Gauge("kubesweep_leader", "1 in the controller that holds the Lease.", registry=reg)

    def observe(self, observation: Observation, status: Mapping[str, Any]) -> None:
        """``status`` was built from this observation. While the queue is down, its last numbers stay."""
        key = namespaced_name(observation.body)
        if observation.stats is not None:
            self._stats[key] = observation.stats, observation.backlog
        # Numbers of one schedule that cannot be exported must not fail the metrics of the others.
        try:
            self._texts[key] = texts_of(*key, self._observed(key, observation, status))
        except Exception as error:
            self.failed(type(error).__name__)
            self._texts.pop(key, None)
        self.queue_responds(observation.stats is not None or isinstance(observation.outage, Damaged))

    def _observed(self, key: tuple[str, str], observation: Observation, status: Mapping[str, Any]) -> Observed:
        seen = Observed(
            status=status,
            crash_loop=observation.children.crash_loop,
            previous_tick=previous_tick(observation),
            paused=paused(observation),
            slowed_by=slowed_by(observation),
        )
        if key not in self._stats:
            return seen
        stats, backlog = self._stats[key]
        return replace(seen, stats=stats, backlog=backlog, rows=self._rows.add(key, stats.sweeps))

    def forget(self, namespace: str, name: str) -> None:
        self._stats.pop((namespace, name), None)
        self._texts.pop((namespace, name), None)
        self._rows.forget((namespace, name))

    def reconciled(self, seconds: float, error: str | None = None) -> None:
        """A reconcile took ``seconds``. ``error``: the class of its failure, one word, never a message."""
        self._seconds.observe(seconds)
        if error is not None:
            self._errors.labels(error).inc()

    def failed(self, error: str) -> None:
        """A part of a reconcile failed, and the rest of it continued."""
        self._errors.labels(error).inc()

    def queue_responds(self, up: bool) -> None:
        """Whether the queue responds. Without any call, as in a standby, there is no such metric."""
        if self._queue is None:
            text = "1 while the queue responds to the controller."
            self._queue = Gauge("kubesweep_queue_up", text, registry=self.registry)
        self._queue.set(1 if up else 0)

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
        return generate_latest(self.registry) + exposition(text for _, text in sorted(self._texts.items())).encode()
