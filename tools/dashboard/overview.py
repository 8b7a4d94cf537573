"""The first two questions of a person on call: is anything wrong, and do the sweeps keep up?"""

from __future__ import annotations

from tools.dashboard.panels import Panel, Query, Row, each, rate, releases, schedules

_READY = each("kubesweep_schedule_condition", type='="Ready"')
_PAUSED = each("kubesweep_paused")
_DEGRADED = each("kubesweep_schedule_condition", type='="Degraded"')
_APPROVAL = each("kubesweep_last_sweep_state", state='="AwaitingApproval"')
_EMPTY = each("kubesweep_backlog_empty_timestamp_seconds")
_ALERTS = 'ALERTS{alertname=~"Kubesweep.+", alertstate="firing", release=~"$release|", schedule=~"$schedule|"}'


def _number(title: str, description: str, expr: str, legend: str) -> Panel:
    """A count of problems. Without any series it is zero."""
    return Panel(title, description, "none", "number", (Query(f"{expr} or vector(0)", legend),), width=4, red_from=1)


def _works(title: str, description: str, metric: str) -> Panel:
    """Whether a metric is 1 in every selected release."""
    expr = f"min(max by (release, job) ({releases(metric)}))"
    return Panel(title, description, "bool_yes_no", "number", (Query(expr, "all releases"),), width=4, red_below=1)


WRONG = Row(
    "Is anything wrong?",
    (
        _number(
            "Schedules with a problem",
            "Schedules that are Degraded or not Ready. Paused ones count if they are Degraded. Next: kubectl get sweeps -A",
            f"count(({_READY} == 0 unless {_PAUSED} == 1) or {_DEGRADED} == 1)",
            "schedules",
        ),
        _number(
            "Schedules that fall behind",
            "At its present inflow the backlog of these schedules never becomes empty. The next row shows which.",
            f"count({_EMPTY} == Inf)",
            "schedules",
        ),
        _number(
            "Sweeps that await approval",
            "They change nothing until you decide. Next: kubectl describe sweepschedule NAME -n NAMESPACE",
            f"sum({_APPROVAL})",
            "sweeps",
        ),
        _number(
            "Dead letters",
            "Rows that used up their attempts. Sweeps leave them alone until you retry or purge them.",
            f"sum({each('kubesweep_dead_letters')})",
            "rows",
        ),
        _works(
            "Queue responds",
            "Whether Redis responds to the controller. If it does not, no sweep starts or continues, and nothing is lost.",
            "kubesweep_queue_up",
        ),
        _works(
            "Controller leads",
            "Whether a controller has the Lease. If none has it, status, Events, commands and ticks of every stop.",
            "kubesweep_leader",
        ),
        Panel(
            "Firing alerts",
            "Alerts of the chart's PrometheusRule. An empty table is good. Each alert has a description with a command, and a runbook.",
            "none",
            "table",
            (Query(f"max by (alertname, severity, namespace, schedule) ({_ALERTS})", "{{alertname}}"),),
            width=12,
            columns=("severity", "alertname", "namespace", "schedule"),
        ),
        Panel(
            "Degraded",
            "When each schedule had a problem. Next: kubectl describe sweepschedule NAME -n NAMESPACE shows the reason and a command.",
            "none",
            "states",
            (Query(_DEGRADED),),
            width=12,
            states=("as expected", "Degraded"),
        ),
    ),
)

KEEP_UP = Row(
    "Do we keep up?",
    (
        Panel(
            "Age of the oldest stale row",
            "Since when the oldest stale row has been stale, as the latest plan saw it. A line that keeps rising means falling behind.",
            "s",
            "graph",
            (Query(f"time() - {each('kubesweep_backlog_oldest_timestamp_seconds')}"),),
        ),
        Panel(
            "Stale rows left",
            "Rows that are stale and not finished. A line that comes down to zero with each sweep is good.",
            "short",
            "graph",
            (Query(each("kubesweep_backlog_rows")),),
        ),
        Panel(
            "Time until the backlog is empty",
            "At the present inflow and outflow. If it is never: raise worker.maxReplicas or limits.rowsPerSecond, or find in the "
            "rows below what slows the sweep down.",
            "s",
            "table",
            (Query(f"clamp_min({_EMPTY} - time(), 0)"),),
            columns=("namespace", "schedule", "Value"),
            never=True,
        ),
        Panel(
            "Inflow and outflow",
            "Rows that become stale, and rows that are finished while a sweep runs. Inflow above outflow means falling behind.",
            "rowsps",
            "graph",
            (
                Query(each("kubesweep_backlog_inflow_rows_per_second"), "in: {{namespace}}/{{schedule}}"),
                Query(each("kubesweep_backlog_outflow_rows_per_second"), "out: {{namespace}}/{{schedule}}"),
            ),
        ),
        Panel(
            "Rows by outcome",
            "Rows of all sweeps, counted by the controller: the counter also continues while no worker runs.",
            "rowsps",
            "stack",
            (Query(f"sum by (outcome) ({rate('kubesweep_rows_total')})", "{{outcome}}"),),
        ),
        Panel(
            "Delay of the latest tick",
            "How late its sweep was opened. A CronJob's pod needs seconds to start.",
            "s",
            "graph",
            (Query(each("kubesweep_last_tick_delay_seconds")),),
        ),
        Panel(
            "Ticks by answer",
            "enqueued: opened a sweep. forbidden: came while a sweep ran. late: older than startingDeadlineSeconds.",
            "suffix: ticks/h",
            "stack",
            (Query(f"3600 * sum by (answer) ({rate('kubesweep_ticks_total')})", "{{answer}}"),),
            width=12,
        ),
        Panel(
            "Jobs in the queue",
            "ready: a job that waits for a worker. delayed: a retry.",
            "short",
            "stack",
            (
                Query(
                    f"sum by (state) (max by (namespace, schedule, state) ({schedules('kubesweep_queue_jobs')}))",
                    "{{state}}",
                ),
            ),
            width=12,
        ),
    ),
)
