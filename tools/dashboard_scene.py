"""Three hours of made-up metrics of three schedules, for the pictures of docs/dashboard.md, as OpenMetrics.

One schedule keeps up, one has fallen behind since a batch of rows became stale, and the receiver of one refuses rows in the last hour. The
metrics are those that the panels of the dashboard query.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

__all__ = ["SECONDS", "open_metrics"]

SECONDS, STEP = 3 * 3600, 30
MINUTE, HOUR, MIB = 60.0, 3600.0, 2.0**20
CARTS, LOGS, OVERDUE = "close-abandoned-carts", "delete-old-logs", "notify-overdue"
REFUSED = 2 * HOUR  # from then on a receiver refuses some rows
PHASES = ("idle", "claim", "read", "effect", "write", "settle", "throttled")
OUTCOMES = ("planned", "applied", "skipped", "unconfirmed", "retrying", "dead")
Value = Callable[[float], float]  # at a moment, in seconds since the begin


@dataclass(frozen=True)
class Series:
    """A gauge, or with ``counts`` a counter whose increase a second is ``value``."""

    name: str
    labels: dict[str, str]
    value: Value
    counts: bool = False

    def lines(self, begin: float) -> Iterator[str]:
        moments = range(0, SECONDS + 1, STEP)
        values = [self.value(float(at)) for at in moments]
        if self.counts:
            values = list(accumulate(value * STEP for value in values))
        labels = ",".join(f'{name}="{text}"' for name, text in {**self.labels, "release": "kubesweep"}.items())
        for at, value in zip(moments, values, strict=True):
            number = "+Inf" if math.isinf(value) else f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
            yield f"{self.name}{{{labels}}} {number} {begin + at:.0f}"


def open_metrics(end: float) -> str:
    """The text. The last sample is of ``end``, in seconds since the epoch."""
    begin = end - SECONDS
    found = [*_controller(), *(each for name in _SWEPT for each in _schedule(name, end)), *_alerts()]
    return "\n".join([*(line for each in found for line in each.lines(begin)), "# EOF\n"])


def _wave(at: float, period: float, height: float) -> float:
    return 1 + height * math.sin(2 * math.pi * at / period)


def _wavy(value: float, at: float) -> float:
    return value * _wave(at, 3100, 0.35)


def _always(value: float) -> Value:
    return lambda _: value


def _carts(at: float) -> float:
    """Rows a second: a sweep of two minutes in each quarter of an hour."""
    return 220 * _wave(at, 5000, 0.15) if at % (15 * MINUTE) < 2 * MINUTE else 0.0


def _logs(at: float) -> float:
    """A standby lags from half past the first hour on, so half of the speed is left now and then."""
    return (300 if _lags(at) else 600) * _wave(at, 700, 0.06)


def _lags(at: float) -> bool:
    return at > 1.5 * HOUR and at % (25 * MINUTE) < 9 * MINUTE


def _overdue(at: float) -> float:
    return 6 * _wave(at, 900, 0.2) if at % (30 * MINUTE) < 8 * MINUTE else 0.0


def _refused(at: float) -> float:
    return 0.04 * _overdue(at) if at > REFUSED else 0.0


_SWEPT: dict[str, Value] = {CARTS: _carts, LOGS: _logs, OVERDUE: _overdue}
_INFLOW = {CARTS: 30.0, LOGS: 720.0, OVERDUE: 1.6}
_FASTEST = {CARTS: 1200.0, LOGS: 600.0, OVERDUE: 8.0}  # rows a second, with both slots
_OUTFLOW: dict[str, Value] = {
    CARTS: lambda _: 220.0,
    LOGS: lambda at: 600.0 - 80 * at / SECONDS,
    OVERDUE: lambda _: 6.0,
}


def _backlog(name: str, at: float) -> float:
    if name == LOGS:
        return 60_000 + 60 * at * (1 + at / SECONDS)
    period = 15 * MINUTE if name == CARTS else 30 * MINUTE
    return max(0.0, 1 - at % period / (0.2 * period)) * _INFLOW[name] * period


def _oldest(name: str, at: float) -> float:
    """The age of the oldest stale row."""
    return 400 + 0.32 * at if name == LOGS else 90 + at % (15 * MINUTE if name == CARTS else 30 * MINUTE)


def _jobs(name: str, share: float, at: float) -> float:
    return round(share * _SWEPT[name](at) / 10)


def _controller() -> Iterator[Series]:
    own = {"namespace": "kubesweep-system", "job": "kubesweep-metrics"}
    yield Series("kubesweep_queue_up", own, lambda _: 1)
    yield Series("kubesweep_leader", own, lambda _: 1)
    yield Series("kubesweep_queue_memory_bytes", {**own, "namespace": "shop"}, lambda at: (2 + at / HOUR) * MIB)
    yield from _histogram(
        "kubesweep_reconcile_duration_seconds", own, lambda _: 0.4, lambda at: 0.012 * _wave(at, 4000, 0.3)
    )


def _alerts() -> Iterator[Series]:
    for alert, name in (("KubesweepFallingBehind", LOGS), ("KubesweepDeadLettersGrowing", OVERDUE)):
        labels = {
            "alertname": alert,
            "alertstate": "firing",
            "severity": "warning",
            "namespace": "shop",
            "schedule": name,
        }
        yield Series("ALERTS", labels, lambda _: 1)


def _schedule(name: str, end: float) -> Iterator[Series]:
    yield from _observed({"namespace": "shop", "schedule": name}, name, end - SECONDS)
    yield from _worked({"namespace": "shop", "schedule": name, "instance": f"{name}:8080"}, name, _SWEPT[name])


def _observed(own: dict[str, str], name: str, begin: float) -> Iterator[Series]:
    """What the controller exports about a schedule."""

    def gauge(metric: str, value: Value, **labels: str) -> Series:
        return Series(f"kubesweep_{metric}", {**own, **labels}, value)

    dead, never = name == OVERDUE, name == LOGS
    yield gauge("schedule_condition", lambda _: 1, type="Ready")
    yield gauge("schedule_condition", lambda at: dead and at > REFUSED, type="Degraded")
    yield gauge("paused", lambda _: 0)
    yield gauge("last_sweep_state", lambda _: 0, state="AwaitingApproval")
    yield gauge("backlog_rows", lambda at: _backlog(name, at))
    yield gauge("backlog_oldest_timestamp_seconds", lambda at: begin + at - _oldest(name, at))
    yield gauge("backlog_inflow_rows_per_second", lambda _: _INFLOW[name])
    yield gauge("backlog_outflow_rows_per_second", _OUTFLOW[name])
    yield gauge(
        "backlog_empty_timestamp_seconds", lambda at: math.inf if never else begin + at + _backlog(name, at) / 5
    )
    yield gauge("dead_letters", lambda at: max(0.0, 0.016 * (at - REFUSED)) // 1 if dead else 0)
    yield gauge("last_tick_delay_seconds", lambda at: len(name) / 8 + _wave(at // 900 * 700, 5000, 0.4))
    for answer, hourly in (("enqueued", 4.0), ("forbidden", 6.0 if never else 0.0), ("late", 0.0), ("duplicate", 0.0)):
        yield Series("kubesweep_ticks_total", {**own, "answer": answer}, _always(hourly / HOUR), True)
    for state, share in (("ready", 0.8), ("running", 0.1), ("delayed", 0.1 if dead else 0.0)):
        yield gauge("queue_jobs", partial(_jobs, name, share), state=state)
    for outcome in OUTCOMES:
        yield gauge("last_sweep_rows", _always(_last(name).get(outcome, 0)), outcome=outcome)
    for outcome, rate in (("applied", _SWEPT[name]), ("dead", _refused if dead else lambda _: 0.0)):
        yield Series("kubesweep_rows_total", {**own, "outcome": outcome}, rate, True)
    if never:
        yield gauge("throttle_ratio", lambda at: 0.5 if _lags(at) else 1.0, reason="ReplayLag")


def _last(name: str) -> dict[str, int]:
    if name == OVERDUE:
        return {"planned": 2880, "applied": 2690, "skipped": 12, "retrying": 66, "dead": 112}
    rows = 50_000 if name == LOGS else 1351
    return {"planned": rows, "applied": rows - 3, "skipped": 3}


def _worked(own: dict[str, str], name: str, rows: Value) -> Iterator[Series]:
    """What its worker exports."""

    def counter(metric: str, rate: Value, **labels: str) -> Series:
        return Series(f"kubesweep_worker_{metric}_total", {**own, **labels}, rate, True)

    calls = name == OVERDUE
    for phase in PHASES:
        yield counter("phase_seconds", partial(_share, name, phase), phase=phase)
    yield Series("kubesweep_worker_batch_rows", own, lambda at: 400 + 90 * _wave(at, 2600, 0.5))
    yield Series("kubesweep_worker_breaker_open", {**own, "breaker": "claim"}, lambda at: calls and 2700 < at < 2900)
    yield counter("rows", rows, outcome="applied")
    yield counter("rows", lambda at: 2 * _refused(at) if calls else 0, outcome="retrying")
    yield counter("rows", lambda at: _refused(at) if calls else 0, outcome="dead")
    for kind, typical in (("plan", 0.12), ("batch", 0.5)):
        for what, seconds in (("wait", 4 * typical), ("duration", typical)):
            metric = f"kubesweep_worker_job_{what}_seconds"
            yield from _histogram(metric, {**own, "kind": kind}, lambda at: rows(at) / 50, partial(_wavy, seconds))
    if calls:
        yield from _histogram(
            "kubesweep_worker_effect_duration_seconds", own, rows, lambda at: 0.08 * _wave(at, 2000, 0.3)
        )
        yield counter("effect_responses", rows, **{"class": "2xx"})
        yield counter("effect_responses", lambda at: 3 * _refused(at), **{"class": "4xx"})


def _share(name: str, phase: str, at: float) -> float:
    """Of two slots, the seconds in this phase each second."""
    busy = min(1.0, _SWEPT[name](at) / _FASTEST[name])
    shares = {"read": 0.25, "write": 0.55, "settle": 0.05, "claim": 0.02}
    if name == OVERDUE:
        shares = {"read": 0.06, "effect": 0.74, "write": 0.1, "settle": 0.04, "claim": 0.02}
    slowed = 1 - busy if name == LOGS else 0.0
    taken = {each: busy * share for each, share in shares.items()} | {"throttled": slowed}
    return 2 * taken.get(phase, 0.0) if phase != "idle" else 2 * max(0.0, 1 - sum(taken.values()))


def _histogram(metric: str, labels: dict[str, str], calls: Value, typical: Value) -> Iterator[Series]:
    for bound in (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf):
        le = "+Inf" if math.isinf(bound) else f"{bound:g}"

        def rate(at: float, bound: float = bound) -> float:
            return calls(at) * (1 - math.exp(-((bound / typical(at)) ** 2)))

        yield Series(f"{metric}_bucket", {**labels, "le": le}, rate, True)
