"""The moves of the queue on an open transaction: sweeps and claims. Each function is one move, or a part of one.

A planned job is one that keeps its sweep open: it has a sweep and is not ``is_retry``. How many are left is always counted
in the table of jobs, never kept beside it, so a sweep can be finished neither early nor twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from kubesweep.queue.model import (
    AHEAD,
    BEHIND,
    END_STATES,
    HALTING,
    HISTORY,
    LONGEST_LEASE,
    MAX_FINDINGS,
    MAX_SAMPLES,
    RETRY_PAUSE,
    Budget,
    Claim,
    Claims,
    Finding,
    Job,
    JobKind,
    Limits,
    OpenResult,
    PlanVersion,
    ScheduleRef,
    Sweep,
    SweepRequest,
    SweepState,
    Window,
    to_json,
)
from kubesweep.queue.service import Opened
from kubesweep.queue.sqlite.excluded import purge_older
from kubesweep.queue.sqlite.plan_changes import admit, free_retries, leased_until
from kubesweep.queue.sqlite.records import (
    Schedule,
    decode_job,
    enqueue,
    find,
    find_or_create,
    refund,
    remembered,
    set_budget,
    statements,
    sweep_by_id,
)

MAX_CHECKED = 100  # plan hashes whose check is remembered
SUPERSEDED = "the spec changed while it ran, and a sweep by the new one took over"

_FORGET = ("deaths", "sweeps", "jobs", "excluded", "checked", "findings", "schedule")


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
    twice = request.dedup_key is not None and sweep_by_id(con, schedule.id, id_) is not None
    answer = OpenResult.DUPLICATE if twice else _answer(schedule, latest, request, tick, now)
    con.execute(statements("schedule")["count_tick"], {"schedule": schedule.id, "answer": answer, "tick": tick})
    if answer is OpenResult.FORBIDDEN and latest is not None:
        return Opened(answer, latest.id, ahead)
    if answer is not OpenResult.ENQUEUED:
        return Opened(answer, id_ if twice else "", ahead)
    if latest is not None and not latest.state.settled:
        close_sweep(con, latest.id, SweepState.SUPERSEDED, "PlanChanged", SUPERSEDED, now)
    if latest is not None and not latest.plan.same(request.plan):
        free_retries(con, schedule.id, request.plan)
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
    """Give a sweep its last state (or Held, with ``now`` None) and drop its jobs that nobody works on."""
    values = {"id": sweep, "state": state, "reason": reason, "message": message, "finished": now}
    con.execute(statements("sweep")["set_state"], values)
    con.execute(statements("sweep")["drop_waiting"], {"id": sweep})


def finish(con: sqlite3.Connection, sweep: str, state: SweepState, now: float) -> SweepState | None:
    """End the sweep if nothing of it is left. Its last state for the one move that took the last job. A sweep that runs
    with a reason Halts or Fails for it, if it still holds: none but TooManyFailedRows does where a row was applied."""
    if state not in (SweepState.PLANNING, SweepState.RUNNING):
        return None
    if con.execute(statements("job")["any_planned"], {"id": sweep}).fetchone() is not None:
        return None
    reason, message, applied = con.execute(statements("sweep")["verdict"], {"id": sweep}).fetchone()
    if not reason or (reason != "TooManyFailedRows" and applied):
        close_sweep(con, sweep, SweepState.COMPLETED, "", "", now)
        return SweepState.COMPLETED
    ended = SweepState.HALTED if reason in HALTING else SweepState.FAILED
    close_sweep(con, sweep, ended, reason, message, now)
    return ended


def claim(con: sqlite3.Connection, now: float, ref: ScheduleRef, consumer: str, want: int, limits: Limits) -> Claims:
    schedule = find(con, ref)
    if schedule is None:
        return Claims(lost=True)
    return take(con, now, schedule, consumer, want, limits)


def take(con: sqlite3.Connection, now: float, schedule: Schedule, consumer: str, want: int, limits: Limits) -> Claims:
    """The claiming part of ``claim`` and ``settle``."""
    rate = limits.rows_per_second
    budget = schedule.budget(rate, limits.saved, now) if rate else 0.0
    wait = -budget / rate if rate and budget < 0 else None
    jobs: tuple[Claim, ...] = ()
    if want > 0 and not schedule.paused and wait is None:
        longest = {"lease": limits.lease, "longest": LONGEST_LEASE * limits.lease}
        con.execute(statements("job")["cap_leases"], {"schedule": schedule.id, "now": now} | longest)
        con.execute(statements("job")["drop_expired"], {"schedule": schedule.id, "now": now})
        admit(con, schedule.id, now)
        wanted: dict[str, str | float] = {"schedule": schedule.id, "now": now, "want": want}
        wanted |= {"consumer": consumer, "spare": limits.spare_expired}
        found = con.execute(statements("job")["candidates"], wanted).fetchall()
        jobs = tuple(Claim(str(id_), consumer, delivery, decode_job(body)) for id_, delivery, body in found)
        if rate:
            jobs = _covered(jobs, budget)
            schedule = set_budget(con, schedule, budget - sum(claim.job.rows for claim in jobs), rate, now)
        lease = now + limits.lease
        con.executemany(statements("job")["take"], [(consumer, lease, one.delivery, int(one.id)) for one in jobs])
    (next_delayed,) = con.execute(statements("job")["next_delayed"], {"schedule": schedule.id}).fetchone()
    return Claims(
        jobs=jobs,
        paused=bool(schedule.paused),
        wait=wait,
        next_delayed=next_delayed,
        next_in=None if next_delayed is None else next_delayed - now,
        excluded_version=schedule.excluded_version,
        batch_hint=schedule.batch_hint,
        budget=Budget(budget, now) if rate else None,
    )


def _covered(jobs: tuple[Claim, ...], budget: float) -> tuple[Claim, ...]:
    """As many as the row budget covers, and the one that leads into debt."""
    for taken, claim in enumerate(jobs, 1):
        budget -= claim.job.rows
        if budget < 0:
            return jobs[:taken]
    return jobs


def reserve(con: sqlite3.Connection, now: float, ref: ScheduleRef, rows: int, limits: Limits) -> Budget:
    schedule, rate = find(con, ref), limits.rows_per_second
    if schedule is None or not rate:
        return Budget()
    budget = schedule.budget(rate, limits.saved, now)
    if rows < 0:
        refund(con, schedule, -rows, rate, limits.saved, now)
    elif budget >= -limits.debt:
        set_budget(con, schedule, budget - rows, rate, now)
    return Budget(budget, now)


def owned(con: sqlite3.Connection, schedule: int, claims: Iterable[Claim]) -> dict[str, tuple[str, bool, bytes]]:
    """(sweep, is_retry, body) of those claims that are still the caller's, by claim id."""
    wanted = {claim.id: (claim.consumer, claim.delivery) for claim in claims if claim.id.isdecimal()}
    ids = json.dumps([int(id_) for id_ in wanted])
    rows = con.execute(statements("job")["owned"], {"schedule": schedule, "ids": ids})
    return {
        str(id_): (sweep, bool(is_retry), body)
        for id_, consumer, delivery, sweep, is_retry, body in rows
        if wanted[str(id_)] == (consumer, delivery)
    }


def extend(
    con: sqlite3.Connection, now: float, ref: ScheduleRef, claims: Sequence[Claim], lease: float
) -> tuple[str, ...]:
    schedule = find(con, ref)
    if schedule is None:
        return tuple(claim.id for claim in claims)
    mine = owned(con, schedule.id, claims)
    con.executemany(statements("job")["extend"], [(now + lease, int(id_)) for id_ in mine])
    return tuple(claim.id for claim in claims if claim.id not in mine)


def release(con: sqlite3.Connection, now: float, ref: ScheduleRef, claims: Sequence[Claim]) -> tuple[str, ...]:
    schedule = find(con, ref)
    if schedule is None:
        return tuple(claim.id for claim in claims)
    mine = owned(con, schedule.id, claims)
    done, back, unused = [], [], 0
    for item in claims:
        if item.id not in mine:
            continue
        unused += item.refund
        sweep, is_retry, _ = mine[item.id]
        done.append((int(item.id),))
        if is_retry or not sweep or _is_open(con, schedule.id, sweep):
            back.append((item.job.rows, now, to_json(item.job), int(item.id)))
    # A new id: waiting jobs are claimed by id, so that one that comes back takes its place behind them.
    con.executemany(statements("job")["release"], back)
    con.executemany(statements("job")["delete"], done)
    admit(con, schedule.id, now)
    refund(con, schedule, unused, schedule.rate, schedule.rate or 0.0, now)
    return tuple(item.id for item in claims if item.id not in mine)


def _is_open(con: sqlite3.Connection, schedule: int, sweep: str) -> bool:
    found = sweep_by_id(con, schedule, sweep)
    return found is not None and not found.state.settled


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


def end_sweep(
    con: sqlite3.Connection, now: float, ref: ScheduleRef, claim: Claim, state: SweepState, reason: str, message: str
) -> bool:
    if state not in END_STATES:
        raise ValueError(f"end_sweep takes one of {', '.join(sorted(END_STATES))}, not {state}")
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
        con.execute(statements("sweep")["park"], {"id": sweep.id, "cutoff": claim.job.cutoff})
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
    con.execute(statements("schedule")["approve"], {"schedule": schedule.id, "sweep": latest.id})
    job = Job(JobKind.PLAN, latest.plan, latest.id, cutoff=latest.cutoff, planned=latest.planned)
    enqueue(con, schedule.id, [(job, now, False)])
    return latest.id


def enqueue_check(con: sqlite3.Connection, now: float, ref: ScheduleRef, plan: PlanVersion, again: bool) -> bool:
    schedule = find_or_create(con, ref)
    values = {"schedule": schedule.id, "hash": plan.hash}
    if con.execute(statements("schedule")["is_checked"], values).fetchone() is not None and not (
        again and all(job.plan is None or not job.plan.same(plan) for job in _checks(con, schedule.id))
    ):
        return False
    con.execute(statements("schedule")["add_checked"], values | {"now": now})
    con.execute(statements("schedule")["trim_checked"], {"schedule": schedule.id, "most": MAX_CHECKED})
    enqueue(con, schedule.id, [(Job(JobKind.CHECK, plan), now, False)])
    return True


def _checks(con: sqlite3.Connection, schedule: int) -> Iterator[Job]:
    """Check jobs that are waiting or running."""
    for (body,) in con.execute(statements("job")["of_no_sweep"], {"schedule": schedule}):
        job = decode_job(body)
        if job.kind is JobKind.CHECK:
            yield job


def pause(con: sqlite3.Connection, ref: ScheduleRef, paused: bool) -> None:
    schedule = find(con, ref)
    if schedule is not None:
        con.execute(statements("schedule")["pause"], {"schedule": schedule.id, "paused": paused})


def report(con: sqlite3.Connection, now: float, ref: ScheduleRef, finding: Finding) -> None:
    schedule = find(con, ref)
    if schedule is None:
        return
    at = finding.at or now
    kept = Finding(finding.kind, finding.ok, finding.reason, finding.message, finding.plan, at)
    values = {"schedule": schedule.id, "kind": kept.kind, "at": at, "body": to_json(kept)}
    con.execute(statements("schedule")["put_finding"], values)
    trim = {"schedule": schedule.id, "kind": kept.kind, "most": MAX_FINDINGS}
    con.execute(statements("schedule")["trim_findings"], trim)


def forget(con: sqlite3.Connection, ref: ScheduleRef) -> None:
    schedule = find(con, ref)
    if schedule is not None:
        for part in _FORGET:
            con.execute(statements("schedule")[f"forget_{part}"], {"schedule": schedule.id})
