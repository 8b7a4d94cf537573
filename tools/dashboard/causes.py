"""The questions that follow: where does the time go, what died and why, and what does it do to the database?"""

from __future__ import annotations

from tools.dashboard.panels import NAME, Panel, Query, Row, each, quantile, rate, releases, schedules

_PHASE = "kubesweep_worker_phase_seconds_total"
_ROWS = "kubesweep_worker_rows_total"
_ANSWERS = "kubesweep_worker_effect_responses_total"
_DATABASE = rate(_PHASE, phase='=~"read|write"')
_WRITTEN = rate(_ROWS, outcome='="applied"')
_UNLUCKY = rate(_ROWS, outcome='=~"dead|retrying|unconfirmed"')
_FAILED = rate(_ANSWERS, **{"class": '!~"2xx|ok"'})
_MEMORY = releases("kubesweep_queue_memory_bytes", namespace='=~"$namespace"')
_RECONCILES = f"rate({releases('kubesweep_reconcile_duration_seconds_bucket')}[$__rate_interval])"
_OUTCOMES = f"max by (namespace, schedule, outcome) ({schedules('kubesweep_last_sweep_rows')})"
_QUANTILES = ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))


def _by_schedule(expr: str) -> str:
    return f"sum by (namespace, schedule) ({expr})"


_CALLS = _by_schedule(rate(_ANSWERS))


TIME = Row(
    "Where does the time go?",
    (
        Panel(
            "Time of the workers by phase",
            "idle: no job. effect: your receiver or handler. read, write: the database. throttled: a limit or a signal of the database.",
            "percentunit",
            "stack",
            (Query(f"sum by (phase) ({rate(_PHASE)}) / scalar(sum({rate(_PHASE)}))", "{{phase}}"),),
        ),
        Panel(
            "Workers",
            "Processes that Prometheus scrapes. KEDA starts them when jobs wait, and stops them when none is left.",
            "none",
            "stack",
            (
                Query(
                    f"count by (namespace, schedule) (group by (namespace, schedule, instance) ({schedules(_PHASE)}))"
                ),
            ),
        ),
        Panel(
            "Rows in a batch",
            "Mean of the workers. The number adapts to the time that a batch takes (limits.batchTime).",
            "short",
            "graph",
            (Query(f"avg by (namespace, schedule) ({schedules('kubesweep_worker_batch_rows')})"),),
        ),
        Panel(
            "Wait of a job for a worker",
            "From ready to claimed, 95th percentile by kind. A long wait: no worker has started yet, or all are busy.",
            "s",
            "graph",
            (Query(quantile(0.95, "kubesweep_worker_job_wait_seconds", "kind"), "{{kind}}"),),
        ),
        Panel(
            "Duration of a job",
            "95th percentile by kind. A plan job finds stale rows and cuts them into batches.",
            "s",
            "graph",
            (Query(quantile(0.95, "kubesweep_worker_job_duration_seconds", "kind"), "{{kind}}"),),
        ),
        Panel(
            "Duration of an effect",
            "One call of your webhook or handler. If it dominates, add workers or call it with many rows at once.",
            "s",
            "graph",
            tuple(
                Query(quantile(share, "kubesweep_worker_effect_duration_seconds"), name) for share, name in _QUANTILES
            ),
        ),
        Panel(
            "Answers of the effect",
            "Webhooks: 2xx to 5xx, 429, timeout, connection. Handlers: ok, error.",
            "reqps",
            "stack",
            (Query(f"sum by (class) ({rate(_ANSWERS)})", "{{class}}"),),
            width=12,
        ),
        Panel(
            "Duration of a reconcile",
            "95th percentile of the controller, which writes status and Events. Workers do not depend on it.",
            "s",
            "graph",
            (Query(f"histogram_quantile(0.95, sum by (le, release) ({_RECONCILES}))", "{{release}}"),),
            width=12,
        ),
    ),
)

DIED = Row(
    "What died, and why?",
    (
        Panel(
            "Dead letters by schedule",
            "Next: kubectl describe sweepschedule NAME -n NAMESPACE groups them by error, with sample keys and the last message.",
            "short",
            "graph",
            (Query(each("kubesweep_dead_letters")),),
        ),
        Panel(
            "Rows that fail",
            "retrying: a later attempt follows. dead: no attempt is left. unconfirmed: the write's answer was lost.",
            "rowsps",
            "graph",
            (
                Query(
                    f"sum by (namespace, schedule, outcome) ({_UNLUCKY})",
                    f"{NAME} {{{{outcome}}}}",
                ),
            ),
        ),
        Panel(
            "Effects that fail",
            "Share of calls that end with another answer than 2xx or ok.",
            "percentunit",
            "graph",
            (Query(f"({_by_schedule(_FAILED)} or 0 * {_CALLS}) / {_CALLS}"),),
        ),
        Panel(
            "Latest sweep by outcome",
            "planned = applied + skipped + unconfirmed + retrying + dead, once it is Completed.",
            "short",
            "table",
            (Query(f'label_join({_OUTCOMES}, "sweep", "/", "namespace", "schedule")'),),
            width=12,
            columns=("sweep", "planned", "applied", "skipped", "unconfirmed", "retrying", "dead"),
            across="outcome",
        ),
        Panel(
            "Open circuit breakers",
            "1 while a worker makes no calls because the database or the receiver does not respond. That spends no attempts.",
            "none",
            "graph",
            (
                Query(
                    f"max by (namespace, schedule, breaker) ({schedules('kubesweep_worker_breaker_open')})",
                    f"{NAME} {{{{breaker}}}}",
                ),
            ),
            width=12,
        ),
    ),
)

DATABASE = Row(
    "What does it do to my database?",
    (
        Panel(
            "Speed that the database leaves",
            "Share of full speed by the signal of source.health that slows the sweep down; 0 is a pause. No line: nothing does.",
            "percentunit",
            "graph",
            (
                Query(
                    f"min by (namespace, schedule, reason) ({schedules('kubesweep_throttle_ratio')})",
                    f"{NAME} {{{{reason}}}}",
                ),
            ),
        ),
        Panel(
            "Sessions busy",
            "Database sessions that workers use on average, for reads and writes.",
            "none",
            "stack",
            (Query(_by_schedule(_DATABASE)),),
        ),
        Panel(
            "Rows written",
            "Rows that workers update, delete or archive.",
            "rowsps",
            "stack",
            (Query(_by_schedule(_WRITTEN)),),
        ),
        Panel(
            "Database time for a row",
            "Time of reads and writes divided by the rows written. A rising line: bloat, locks, or a missing index.",
            "s",
            "graph",
            (Query(f"{_by_schedule(_DATABASE)} / ({_by_schedule(_WRITTEN)} > 0)"),),
            width=12,
        ),
        Panel(
            "Memory of the queue",
            "Memory that the keys of a namespace use in Redis.",
            "bytes",
            "stack",
            (Query(f"max by (namespace) ({_MEMORY})", "{{namespace}}"),),
            width=12,
        ),
    ),
)
