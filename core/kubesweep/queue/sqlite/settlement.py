"""``settle`` on an open transaction: the counters change in the same step as the jobs.

:class:`_Changes` first decides everything in memory, from the rows that the transaction read. Then a few statements write it,
however many jobs are settled.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from kubesweep.queue.excluded import parse_row, row_text, too_many_failed
from kubesweep.queue.model import (
    ATTEMPTS,
    FLOOD,
    Attempt,
    Claims,
    FailedRow,
    Job,
    JobKind,
    Limits,
    PlanVersion,
    Retry,
    RowCounts,
    ScheduleRef,
    Settlement,
    Sweep,
    SweepState,
    to_json,
)
from kubesweep.queue.service import Settled
from kubesweep.queue.sqlite.claiming import owned, take
from kubesweep.queue.sqlite.plan_changes import admit
from kubesweep.queue.sqlite.records import (
    ExcludedRow,
    Schedule,
    decode_attempts,
    decode_job,
    enqueue,
    find,
    put_excluded,
    refund,
    remembered,
    remove_excluded,
    statements,
    sweep_by_id,
    touch_excluded,
)
from kubesweep.queue.sqlite.sweeps import close_sweep, finish

_NOTHING = dict.fromkeys(("planned", "applied", "skipped", "unconfirmed", "retrying", "dead"), 0)


def settle(
    con: sqlite3.Connection,
    now: float,
    ref: ScheduleRef,
    consumer: str,
    settlements: Sequence[Settlement],
    want: int,
    limits: Limits,
) -> Settled:
    schedule = find(con, ref)
    if schedule is None:
        return Settled(lost=tuple(s.claim.id for s in settlements), claims=Claims(lost=True))
    limits = schedule.bound(limits)
    mine = owned(con, schedule.id, [s.claim for s in settlements])
    sweeps = {id_: sweep_by_id(con, schedule.id, id_) for id_ in {sweep for sweep, _, _ in mine.values()}}
    latest = next(iter(remembered(con, schedule.id, 1)), None) if any(s.retry for s in settlements) else None
    known, sizes = _history(con, schedule.id, settlements)
    changes = _Changes(now, limits, known, sizes, latest.plan if latest else None, blocked=bool(schedule.blocked))
    lost = []
    for s in settlements:
        owner = mine.pop(s.claim.id, None)
        if owner is None:
            lost.append(s.claim.id)
        elif _is_repeat(s, owner[2]):
            changes.kept.append((owner[2], decode_job(owner[2]).rows, changes.until, int(s.claim.id)))
        else:
            changes.settle(s, *owner, sweeps[owner[0]])
    schedule = _write(con, schedule, changes, limits)
    halted, finished = _end_sweeps(con, schedule.id, changes, sweeps, at_end=limits.halt_at_end)
    admit(con, schedule.id, now)
    claims = take(con, now, schedule, consumer, want, limits)
    return Settled(tuple(lost), tuple(finished), tuple(halted), claims, RowCounts(**changes.rows))


def _is_repeat(s: Settlement, body: bytes) -> bool:
    """True for a part that was settled before. The owner keeps the claim, so only the rest of the job distinguishes parts."""
    return s.rest is not None and s.rest != s.claim.job and body == to_json(s.rest)


class _Changes:
    """The changes that one call of ``settle`` writes.

    ``known`` is the history of failing rows that are already excluded, ``sizes`` the number of excluded rows of each origin,
    and ``plan`` the plan of the latest sweep.
    """

    def __init__(
        self,
        now: float,
        limits: Limits,
        known: dict[str, tuple[Attempt, ...]],
        sizes: Counter[str],
        plan: PlanVersion | None,
        *,
        blocked: bool,
    ) -> None:
        self.now = now
        self.blocked = blocked
        self.until = now + limits.lease
        self.most = limits.halt_above
        self.known = known
        self.plan = plan
        self.sizes = sizes
        self.overflowing: dict[str, str] = {}  # sweep -> origin of a failing row beyond the limit
        self.done: list[tuple[int]] = []
        self.kept: list[tuple[bytes, int, float, int]] = []
        self.jobs: list[tuple[Job, float, bool]] = []
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.rows: Counter[str] = Counter()  # the fields of RowCounts
        self.fails: dict[str, tuple[str, str]] = {}
        self.deaths: Counter[tuple[str, str]] = Counter()
        self.failing: set[str] = set()
        self.excluded: dict[str, ExcludedRow] = {}
        self.added: set[str] = set()
        self.included: set[str] = set()
        self.unused = 0
        self.batch_hint: str | None = None

    def settle(self, s: Settlement, name: str, is_retry: bool, body: bytes, sweep: Sweep | None) -> None:
        self.batch_hint = self.batch_hint if s.batch_hint is None else s.batch_hint
        if s.rest is None:
            self.done.append((int(s.claim.id),))
        else:
            self.kept.append((to_json(s.rest), s.rest.rows, self.until, int(s.claim.id)))
        is_open = sweep is not None and not sweep.state.settled
        self.jobs.extend((job, self.now, self.blocked and job.is_retry) for job in s.jobs if job.is_retry or is_open)
        job = decode_job(body) if is_retry or s.retry else s.claim.job
        if self._outdated(job):
            s = msgspec.structs.replace(s, retry=(), skipped=s.skipped + sum(len(group.rows) for group in s.retry))
        mine = {row_text(job.origin, key) for key in job.keys} if is_retry else set()
        retried = sum(self._retry(group, job, name, mine) for group in s.retry)
        dead = [row for row in s.dead if self._exclude(row, job.origin, name, mine, dead=True)]
        self.deaths.update((name, row.error) for row in dead)
        if s.retry or s.dead:
            self.failing.add(name)
        if s.sweep_failure is not None:
            self.fails[name] = s.sweep_failure
        elsewhere = sum(len(group.rows) for group in s.retry) + len(s.dead) - retried - len(dead)
        self._count(s, name, is_retry, retried, len(dead), elsewhere)
        if is_retry:
            self._include(s, job.origin, mine)

    def _outdated(self, job: Job) -> bool:
        """True where the plan was edited while the job ran: the sweep of the new plan finds the failed rows."""
        return self.plan is not None and job.plan is not None and not job.plan.same(self.plan)

    def _retry(self, group: Retry, job: Job, sweep: str, mine: set[str]) -> int:
        rows = tuple(row for row in group.rows if self._exclude(row, job.origin, sweep, mine, dead=False))
        keys = tuple(row.key for row in rows)
        if keys:
            again = Job(
                JobKind.KEYS,
                job.plan,
                sweep,
                job.cutoff,
                keys=keys,
                rows=len(keys),
                attempt=group.attempt,
                is_retry=True,
                origin=job.origin,
                effects_done=tuple((row.key, row.effect_key) for row in rows if row.effect_key),
            )
            self.jobs.append((again, self.now + group.delay, True))
        return len(keys)

    def _exclude(self, row: FailedRow, origin: str, sweep: str, mine: set[str], *, dead: bool) -> bool:
        """Add a failed row. False where another job or a dead letter already has it: a row is in one place only."""
        key = row_text(origin, row.key)
        if key in self.excluded or (key in self.known and key not in mine):
            return False
        if key not in self.known:
            if self._excluded_of(origin) >= self.most:
                self.overflowing[sweep] = origin
                return False
            self.sizes[origin] += 1
        latest = Attempt(self.now, row.error, row.message, row.where, row.effect_key)
        history = (*self.known.get(key, ()), latest)[-ATTEMPTS:]
        self.excluded[key] = ExcludedRow(sweep, dead, row.error, row.message, self.now, history)
        if key not in self.known:
            self.added.add(key)
        return True

    def _count(self, s: Settlement, sweep: str, is_retry: bool, retried: int, dead: int, elsewhere: int) -> None:
        ended = {"applied": s.applied, "skipped": s.skipped + elsewhere, "unconfirmed": s.unconfirmed, "dead": dead}
        counts = self.counts[sweep]
        for outcome, number in ended.items():
            counts[outcome] += number
            self.rows[outcome] += number
        self.rows["retrying"] += retried
        if is_retry:
            counts["retrying"] -= sum(ended.values())
        else:
            counts["retrying"] += retried
            counts["planned"] += s.extra
        self.unused += s.refund

    def _include(self, s: Settlement, origin: str, mine: set[str]) -> None:
        stay = {row_text(origin, row.key) for group in (*s.retry, Retry(s.dead, 0, 0)) for row in group.rows}
        for job in s.jobs if s.rest is None else (*s.jobs, s.rest):
            stay.update(row_text(origin, key) for key in job.keys)
        self.included |= mine - stay
        self.sizes[origin] -= len(mine - stay)

    def _excluded_of(self, origin: str) -> int:
        """The number of excluded rows; rows without an origin belong to every origin."""
        return self.sizes[origin] + self.sizes[""] if origin else self.sizes.total()


def _history(
    con: sqlite3.Connection, schedule: int, settlements: Sequence[Settlement]
) -> tuple[dict[str, tuple[Attempt, ...]], Counter[str]]:
    groups = ((s.claim.job.origin, group) for s in settlements for group in (*(each.rows for each in s.retry), s.dead))
    failed = [row_text(origin, row.key) for origin, rows in groups for row in rows]
    if not failed:
        return {}, Counter()
    rows = con.execute(statements("excluded")["known"], {"schedule": schedule, "keys": json.dumps(failed)})
    sizes = con.execute(statements("excluded")["sizes"], {"schedule": schedule})
    return {key: decode_attempts(attempts) for key, attempts in rows}, Counter(dict(sizes))


def _write(con: sqlite3.Connection, schedule: Schedule, changes: _Changes, limits: Limits) -> Schedule:
    """Returns the new schedule."""
    con.executemany(statements("job")["delete"], changes.done)
    con.executemany(statements("job")["replace"], changes.kept)
    enqueue(con, schedule.id, changes.jobs)
    remove_excluded(con, schedule.id, changes.included)
    put_excluded(con, schedule.id, changes.excluded)
    con.executemany(
        statements("sweep")["count"],
        [_NOTHING | counts | {"id": sweep} for sweep, counts in changes.counts.items() if sweep],
    )
    con.executemany(
        statements("sweep")["add_deaths"],
        [{"sweep": sweep, "error": error, "died": died} for (sweep, error), died in changes.deaths.items()],
    )
    if changes.included or changes.added:
        touch_excluded(con, schedule.id)
        schedule = schedule._replace(excluded_version=schedule.excluded_version + 1)
    if changes.batch_hint is not None:
        con.execute(
            statements("schedule")["set_batch_hint"], {"schedule": schedule.id, "batch_hint": changes.batch_hint}
        )
        schedule = schedule._replace(batch_hint=changes.batch_hint)
    return refund(con, schedule, changes.unused, limits.rows_per_second, limits.saved, changes.now)


def _end_sweeps(
    con: sqlite3.Connection, schedule: int, changes: _Changes, sweeps: dict[str, Sweep | None], *, at_end: bool
) -> tuple[list[str], list[str]]:
    halted, finished = list[str](), list[str]()
    for name in changes.counts:
        sweep = sweeps[name]
        if sweep is None or (sweep.state.settled and sweep.state is not SweepState.COMPLETED):
            continue
        why = _halt_reason(con, schedule, sweep, changes) if name in changes.failing else None
        if not sweep.state.settled:
            _set_reason(con, name, changes.fails.get(name))
            if at_end:
                _set_reason(con, name, why)
                why = None
        if why is not None:
            close_sweep(con, name, SweepState.HALTED, *why, changes.now)
            halted.append(name)
        elif (ended := finish(con, name, sweep.state, changes.now)) is not None:
            (finished if ended is SweepState.COMPLETED else halted).append(name)
    return halted, finished


def _set_reason(con: sqlite3.Connection, sweep: str, why: tuple[str, str] | None) -> None:
    """Set the reason for which a running sweep will end."""
    if why is not None:
        con.execute(statements("sweep")["set_reason"], {"id": sweep, "reason": why[0], "message": why[1]})


def _halt_reason(con: sqlite3.Connection, schedule: int, sweep: Sweep, changes: _Changes) -> tuple[str, str] | None:
    """(reason, message) for which a sweep with failing rows Halts, or None."""
    if not sweep.state.settled and (origin := changes.overflowing.get(sweep.id)) is not None:
        values = {"schedule": schedule, "origin": origin}
        error, row = con.execute(statements("excluded")["worst"], values).fetchone() or ("", "")
        return "TooManyFailedRows", too_many_failed(changes.most, error, parse_row(row)[1] if row else None)
    worst = con.execute(statements("sweep")["worst_death"], {"id": sweep.id}).fetchone()
    if worst is None or worst[1] < FLOOD or sweep.applied + changes.counts[sweep.id]["applied"] > 0:
        return None
    return (
        "Flood",
        f"{worst[1]} rows died of {worst[0]} and none was applied; fix the cause, then retry the dead letters",
    )
