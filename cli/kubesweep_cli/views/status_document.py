"""The document of ``kubesweep status -o json``: a list with one object for each schedule.

Names are those of the SweepSchedule's status in the cluster, and times are RFC 3339 in UTC: a script that reads
``lastSweep.planned`` reads it in both places. What the status has no field for is named in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubesweep.api.models.status import LastSweep, PastSweep, QueueCounts, TickCounts
from kubesweep.backlog import Backlog, backlog_of, keeping_up
from kubesweep.proposal import proposal_of
from kubesweep.queue.model import Finding, ScheduleRef, Stats, Sweep, key_text
from kubesweep.signals import signal_entries
from kubesweep.timestamps import time_text
from kubesweep_cli.shell.suspending import suspended

__all__ = ["past_sweep", "status_document"]


def status_document(refs: Sequence[ScheduleRef], stats: Sequence[Stats], now: float) -> list[dict[str, Any]]:
    """One object for each schedule, in the order given."""
    return [_schedule(ref, one, now) for ref, one in zip(refs, stats, strict=True)]


def _schedule(ref: ScheduleRef, stats: Stats, now: float) -> dict[str, Any]:
    found = backlog_of(stats, now)
    queue = QueueCounts.model_construct(
        ready=stats.queued, running=stats.running, delayed=stats.delayed, dead=stats.dead
    )
    ticks = TickCounts.model_construct(
        enqueued=stats.ticks.enqueued,
        duplicate=stats.ticks.duplicate,
        forbidden=stats.ticks.forbidden,
        late=stats.ticks.late,
    )
    return _given(
        namespace=ref.namespace,
        name=ref.name,
        uid=ref.uid,
        known=stats.known,
        damage=stats.damage or None,
        paused=stats.paused,
        suspended=suspended(stats),
        throttle=(stats.pace.throttle or None) if stats.pace else None,
        signals=signal_entries(stats, now, time_text) or None,
        lastScheduleTime=_time(stats.last_tick),
        conditions=[_keeping_up(stats, found, now)],
        backlog=None if found is None else {**found.fields(time_text), "observedTime": time_text(int(now))},
        lastSweep=None if stats.sweep is None else _last_sweep(stats.sweep),
        history=[past_sweep(sweep) for sweep in stats.history],
        queue={**queue.model_dump(by_alias=True), "excluded": stats.excluded},
        ticks=ticks.model_dump(by_alias=True),
        oldestReadyTime=_time(stats.oldest_ready if stats.queued else None),
        firstLeaseTime=_time(stats.first_lease),
        origin=stats.origin or None,
        findings=[_finding(finding) for finding in stats.findings],
    )


def _keeping_up(stats: Stats, backlog: Backlog | None, now: float) -> dict[str, Any]:
    """The only condition that follows from the queue alone."""
    found = keeping_up(stats, backlog, now)
    status = {True: "True", False: "False", None: "Unknown"}[found.status]
    return {"type": "KeepingUp", "status": status, "reason": str(found.reason), "message": found.message}


def _last_sweep(sweep: Sweep) -> dict[str, Any]:
    last = LastSweep.model_construct(
        **_fields(sweep),
        message=sweep.message,
        cutoff=sweep.cutoff,
        capped=sweep.capped,
        sample_keys=([key_text(key) for key in sweep.samples] or None) if sweep.mode == "DryRun" else None,
    )
    shown = last.model_dump(by_alias=True, exclude_none=True) | _given(proposal=proposal_of(sweep))
    return shown | _internals(sweep)


def past_sweep(sweep: Sweep) -> dict[str, Any]:
    return PastSweep.model_construct(**_fields(sweep)).model_dump(by_alias=True, exclude_none=True) | _internals(sweep)


def _fields(sweep: Sweep) -> dict[str, Any]:
    return {
        "id": sweep.id,
        "tick": time_text(sweep.tick),
        "mode": sweep.mode,
        "state": str(sweep.shown_state),
        "reason": sweep.reason,
        "start_time": _time(sweep.started or None),
        "completion_time": _time(sweep.finished),
        "planned": sweep.planned,
        "stale": sweep.all_stale,
        "applied": sweep.applied,
        "skipped": sweep.skipped,
        "unconfirmed": sweep.unconfirmed,
        "retrying": sweep.retrying,
        "dead": sweep.dead,
    }


def _internals(sweep: Sweep) -> dict[str, Any]:
    """What the cluster's status does not show of a sweep."""
    return _given(openJobs=sweep.open_jobs, plan=sweep.plan.hash, planGeneration=sweep.plan.generation)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "ok": finding.ok,
        "reason": finding.reason,
        "message": finding.message,
        "plan": finding.plan.hash,
        "planGeneration": finding.plan.generation,
        "time": time_text(finding.at),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time_text(seconds)


def _given(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
