"""Sweeps on an open transaction: starting, planning, ending and approving them.

A planned job keeps its sweep open: it belongs to a sweep and is not ``is_retry``. The number that is left is always counted in
the table of jobs and never stored, so a sweep can finish neither too early nor known.
"""

from __future__ import annotations

import sqlite3

import msgspec

from kubesweep.queue.model import (
    AHEAD,
    BEHIND,
    HALTING,
    HISTORY,
    MAX_SAMPLES,
    RETRY_PAUSE,
    Baseline,
    Claim,
    Job,
    JobKind,
    OpenResult,
    ScheduleRef,
    StaleRows,
    Sweep,
    SweepRequest,
    SweepState,
    Window,
    to_json,
)
from kubesweep.queue.service import Opened
from kubesweep.queue.sqlite.claiming import owned
from kubesweep.queue.sqlite.excluded import purge_older
from kubesweep.queue.sqlite.plan_changes import admit, cancel_retries, leased_until
from kubesweep.queue.sqlite.records import (
    Schedule,
    decode_job,
    enqueue,
    find,
    find_or_create,
    remembered,
    statements,
    sweep_by_id,
)

SUPERSEDED = "the spec changed while it ran, and a sweep by the new one took over"


def open_sweep(con: sqlite3.Connection, now: float, ref: ScheduleRef, request: SweepRequest) -> Opened:
    schedule = find_or_create(con, ref)
    purge_older(con, schedule.id, now - request.retention)
    latest = next(iter(remembered(con, schedule.id, 1)), None)
    id_, tick = request.sweep_id(ref), now if request.tick is None else request.tick
    ahead = tick - now if tick > now + AHEAD else 0.0
    if ahead:
        tick = now
    if schedule.last_tick is not None and schedule.last_tick > now + AHEAD:
        schedule = schedule._replace(last_tick=None)
    if request.dedup_key is not None and schedule.last_tick is not None and tick <= schedule.last_tick:
        tick = schedule.last_tick + BEHIND
    known = sweep_by_id(con, schedule.id, id_) is not None
    answer = OpenResult.DUPLICATE if known else _answer(schedule, latest, request, tick, now)
    con.execute(statements("schedule")["count_tick"], {"schedule": schedule.id, "answer": answer, "tick": tick})
    if answer is OpenResult.FORBIDDEN and latest is not None:
        return Opened(answer, latest.id, ahead)
    if answer is not OpenResult.ENQUEUED:
        return Opened(answer, id_ if known else "", ahead)
    if latest is not None and not latest.state.settled:
        close_sweep(con, latest.id, SweepState.SUPERSEDED, "PlanChanged", SUPERSEDED, now)
    if latest is not None and not latest.plan.same(request.plan):
        cancel_retries(con, schedule.id, request.plan)
    _create(con, schedule.id, id_, request, tick, now)
    return Opened(answer, id_, ahead)


def _answer(schedule: Schedule, latest: Sweep | None, request: SweepRequest, tick: float, now: float) -> OpenResult:
    if schedule.last_tick is not None and tick <= schedule.last_tick:
        return OpenResult.DUPLICATE
    if request.deadline is not None and tick + request.deadline < now:
        return OpenResult.LATE
    if latest is not None and not latest.state.settled and not request.plan.newer_than(latest.plan):
        return OpenResult.FORBIDDEN
    return OpenResult.ENQUEUED


def _create(con: sqlite3.Connection, schedule: int, sweep: str, request: SweepRequest, tick: float, now: float) -> None:
    values = {"id": sweep, "schedule": schedule, "tick": tick, "mode": request.mode, "now": now}
    plan = {"generation": request.plan.generation, "hash": request.plan.hash, "state": SweepState.PLANNING}
    con.execute(statements("sweep")["create"], values | plan)
    until = leased_until(con, schedule, now)
    enqueue(con, schedule, [(Job(JobKind.PLAN, request.plan, sweep), until or now, until is not None)])
    for prune in ("prune_deaths", "prune"):
        con.execute(statements("sweep")[prune], {"schedule": schedule, "most": HISTORY + 1})


def close_sweep(
    con: sqlite3.Connection, sweep: str, state: SweepState, reason: str, message: str, now: float | None
) -> None:
    """Set the last state of a sweep, or AwaitingApproval with ``now`` None, and drop its unclaimed jobs."""
    values = {"id": sweep, "state": state, "reason": reason, "message": message, "finished": now}
    con.execute(statements("sweep")["set_state"], values)
    con.execute(statements("sweep")["drop_waiting"], {"id": sweep})


def finish(con: sqlite3.Connection, sweep: str, state: SweepState, now: float) -> SweepState | None:
    """End the sweep if it has no planned job left. Returns its last state, to the one operation that took the last job.

    A sweep with a reason Halts or Fails for it. If a row was applied, only TooManyFailedRows counts.
    """
    if state not in (SweepState.PLANNING, SweepState.RUNNING):
        return None
    if con.execute(statements("job")["any_planned"], {"id": sweep}).fetchone() is not None:
        return None
    reason, message, applied = con.execute(statements("sweep")["reason"], {"id": sweep}).fetchone()
    if not reason or (reason != "TooManyFailedRows" and applied):
        close_sweep(con, sweep, SweepState.COMPLETED, "", "", now)
        return SweepState.COMPLETED
    ended = SweepState.HALTED if reason in HALTING else SweepState.FAILED
    close_sweep(con, sweep, ended, reason, message, now)
    return ended


def advance(con: sqlite3.Connection, now: float, ref: ScheduleRef, claim: Claim, window: Window) -> bool:
    schedule = find(con, ref)
    if schedule is None or claim.id not in owned(con, schedule.id, [claim]):
        return False
    con.execute(statements("job")["delete"], (int(claim.id),))
    sweep = sweep_by_id(con, schedule.id, claim.job.sweep)
    if sweep is None or sweep.state.settled:
        admit(con, schedule.id, now)
        return False
    enqueue(con, schedule.id, [(job, now, False) for job in window.entries])
    if window.origin:
        con.execute(statements("schedule")["set_origin"], {"schedule": schedule.id, "origin": window.origin})
    if window.baseline is not None:
        keep_baseline(con, schedule.id, window.baseline)
        _set_blocked(con, schedule.id, False)  # nobody has to approve this sweep
    state = SweepState.RUNNING if window.next is None else sweep.state
    values = {
        "id": sweep.id,
        "cutoff": window.cutoff,
        "planned": window.planned,
        "capped": window.capped,
        "stopped": window.stopped,
        "samples": to_json((sweep.samples + window.samples)[:MAX_SAMPLES]),
        "state": state,
    }
    con.execute(statements("sweep")["record_window"], values)
    finish(con, sweep.id, state, now)
    return True


def _set_blocked(con: sqlite3.Connection, schedule: int, blocked: bool) -> None:
    con.execute(statements("schedule")["set_blocked"], {"schedule": schedule, "blocked": blocked})


def keep_baseline(con: sqlite3.Connection, schedule: int, baseline: Baseline) -> None:
    con.execute(statements("schedule")["set_baseline"], {"schedule": schedule, "baseline": to_json(baseline)})


def restore_baseline(con: sqlite3.Connection, ref: ScheduleRef, baseline: Baseline) -> None:
    schedule = find(con, ref)
    if schedule is not None and not schedule.baseline:
        keep_baseline(con, schedule.id, baseline)


def record_stale(con: sqlite3.Connection, ref: ScheduleRef, sweep: str, found: StaleRows) -> None:
    schedule = find(con, ref)
    if schedule is not None:
        values = msgspec.structs.asdict(found) | {"samples": to_json(found.samples[:MAX_SAMPLES]).decode()}
        con.execute(statements("sweep")["record_stale"], values | {"id": sweep, "schedule": schedule.id})


def end_sweep(
    con: sqlite3.Connection, now: float, ref: ScheduleRef, claim: Claim, state: SweepState, reason: str, message: str
) -> bool:
    schedule = find(con, ref)
    mine = {} if schedule is None else owned(con, schedule.id, [claim])
    if schedule is None or claim.id not in mine:
        return False
    name, is_retry, body = mine[claim.id]
    if is_retry:
        con.execute(statements("job")["postpone"], (now + RETRY_PAUSE, body, decode_job(body).rows, int(claim.id)))
    else:
        con.execute(statements("job")["delete"], (int(claim.id),))
    sweep = sweep_by_id(con, schedule.id, name)
    if sweep is None or sweep.state.settled:
        admit(con, schedule.id, now)
        return False
    if state is SweepState.AWAITING_APPROVAL:
        con.execute(statements("sweep")["await_approval"], {"id": sweep.id, "cutoff": claim.job.cutoff})
        _set_blocked(con, schedule.id, True)
        con.execute(statements("job")["block_waiting"], {"schedule": schedule.id})
    close_sweep(con, sweep.id, state, reason, message, None if state is SweepState.AWAITING_APPROVAL else now)
    return True


def approve(con: sqlite3.Connection, now: float, ref: ScheduleRef, sweep: str | None) -> str | None:
    schedule = find(con, ref)
    latest = None if schedule is None else next(iter(remembered(con, schedule.id, 1)), None)
    if (
        schedule is None
        or latest is None
        or latest.state is not SweepState.AWAITING_APPROVAL
        or sweep not in (None, latest.id)
    ):
        return None
    values = {"id": latest.id, "state": SweepState.PLANNING, "reason": "", "message": "", "finished": None}
    con.execute(statements("sweep")["set_state"], values)
    con.execute(statements("sweep")["approve"], {"id": latest.id, "now": now})
    con.execute(statements("schedule")["approve"], {"schedule": schedule.id, "sweep": latest.id})
    _set_blocked(con, schedule.id, False)
    job = Job(JobKind.PLAN, latest.plan, latest.id, cutoff=latest.cutoff, planned=latest.planned)
    enqueue(con, schedule.id, [(job, now, False)])
    return latest.id
