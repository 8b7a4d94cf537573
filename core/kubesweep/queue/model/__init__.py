"""What travels through the queue: keys, never row data. A lost or repeated job does no harm.

Every class is a frozen msgspec Struct, so one definition serves Python, the SQLite file and Redis. Times are seconds since
the epoch (float), durations are seconds (float), and keys are tuples of the database's own text.

Import from here. The modules are grouped by what a reader looks for: ``identity`` (schedules, plan versions, keys), ``jobs``
(jobs, claims, limits, windows), ``pace``, ``health``, ``settlement``, ``sweeps``, ``dead_letters``, ``stats`` and ``constants``.
"""

from kubesweep.queue.model.constants import (
    AHEAD,
    ATTEMPTS,
    BEHIND,
    FLOOD,
    HALTING,
    HISTORY,
    LONGEST_LEASE,
    MAX_FINDINGS,
    MAX_JOB_KEYS,
    MAX_SAMPLES,
    MESSAGE,
    RETRY_PAUSE,
    TURN,
)
from kubesweep.queue.model.dead_letters import Attempt, DeadLetter, ErrorGroup, ExcludedRows, RowState
from kubesweep.queue.model.health import (
    LOCK_WAITS,
    OLDEST_XMIN,
    QUERY,
    REPLAY_LAG,
    VACUUM,
    HealthLimits,
    Sample,
    SharedSample,
    Throttle,
    parse_sample,
)
from kubesweep.queue.model.identity import LOCAL, Key, PlanVersion, ScheduleRef, key_text, parse_key, plain_key, to_json
from kubesweep.queue.model.jobs import Budget, Claim, Claims, Job, JobKind, Limits, Window
from kubesweep.queue.model.pace import BATCH_TIME, MAX_RATE, PAUSE, Pace, describe_rate, parse_pace
from kubesweep.queue.model.settlement import FailedRow, Retry, RowCounts, Settled, Settlement
from kubesweep.queue.model.stats import THROTTLE, THROTTLE_AGE, Finding, Stats, TickCounts
from kubesweep.queue.model.sweeps import (
    END_STATES,
    Opened,
    OpenResult,
    StaleRows,
    Sweep,
    SweepRequest,
    SweepState,
    last_decided,
)

__all__ = [
    "AHEAD",
    "ATTEMPTS",
    "BATCH_TIME",
    "BEHIND",
    "END_STATES",
    "FLOOD",
    "HALTING",
    "HISTORY",
    "LOCAL",
    "LOCK_WAITS",
    "LONGEST_LEASE",
    "MAX_FINDINGS",
    "MAX_JOB_KEYS",
    "MAX_RATE",
    "MAX_SAMPLES",
    "MESSAGE",
    "OLDEST_XMIN",
    "PAUSE",
    "QUERY",
    "REPLAY_LAG",
    "RETRY_PAUSE",
    "THROTTLE",
    "THROTTLE_AGE",
    "TURN",
    "VACUUM",
    "Attempt",
    "Budget",
    "Claim",
    "Claims",
    "DeadLetter",
    "ErrorGroup",
    "ExcludedRows",
    "FailedRow",
    "Finding",
    "HealthLimits",
    "Job",
    "JobKind",
    "Key",
    "Limits",
    "OpenResult",
    "Opened",
    "Pace",
    "PlanVersion",
    "Retry",
    "RowCounts",
    "RowState",
    "Sample",
    "ScheduleRef",
    "Settled",
    "Settlement",
    "SharedSample",
    "StaleRows",
    "Stats",
    "Sweep",
    "SweepRequest",
    "SweepState",
    "Throttle",
    "TickCounts",
    "Window",
    "describe_rate",
    "key_text",
    "last_decided",
    "parse_key",
    "parse_pace",
    "parse_sample",
    "plain_key",
    "to_json",
]
