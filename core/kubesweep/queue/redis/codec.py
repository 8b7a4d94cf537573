"""Between the queue's classes and what the Lua moves read and answer. Pure functions.

Arguments travel as one MessagePack map, so that a batch of a thousand jobs is one argument. Answers hold text and small
integers only: they read the same from a client that decodes replies and from one that does not.
"""

from __future__ import annotations

import math
import re
from bisect import insort
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kubesweep.queue.excluded import excluded_rows, parse_row, row_text
from kubesweep.queue.model import (
    ATTEMPTS,
    MESSAGE,
    Attempt,
    Budget,
    Claim,
    Claims,
    DeadLetter,
    ErrorGroup,
    ExcludedRows,
    FailedRow,
    Finding,
    Job,
    JobKind,
    Key,
    PlanVersion,
    ScheduleRef,
    Settlement,
    Stats,
    Sweep,
    SweepState,
    TickCounts,
    key_text,
    parse_key,
    to_json,
)
from kubesweep.queue.service import Settled

pack = msgspec.msgpack.Encoder().encode
decode_job = msgspec.json.Decoder(Job).decode
_decode_finding = msgspec.json.Decoder(Finding).decode
SAMPLES = 3
GROUPS = 1000  # error classes that are told apart
_KEY = re.compile(r"\{ks:([^/{}]+)/([^/{}]+)/([^/{}]+)/[^/{}]+\}:meta")
_LAST = 253_402_300_799.0  # 9999-12-31 23:59:59: what lies behind has no date
_MOST = 2**53


class _Record(msgspec.Struct):
    """A sweep as its Lua table is written."""

    id: str
    tick: float
    generation: int
    hash: str
    mode: str
    state: SweepState
    reason: str
    message: str
    started: float
    planned: int
    applied: int
    skipped: int
    unconfirmed: int
    retrying: int
    dead: int
    open: int
    finished: float | None = None
    cutoff: str | None = None
    capped: bool = False
    stopped: str = ""
    samples: tuple[str, ...] = ()


class _Row(msgspec.Struct):
    """an excluded row as its Lua table is written: sweep and attempts (time, error class, message), oldest first."""

    s: str
    a: tuple[tuple[float, str, str], ...]
    w: str = ""  # where the latest was raised
    t: str = ""  # the Idempotency-Key under which the row's effect succeeded


_decode_record = msgspec.json.Decoder(_Record, strict=False).decode
_decode_row = msgspec.json.Decoder(_Row, strict=False).decode


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def number(value: bytes | str) -> float | None:
    return float(value) if value else None


def moment(value: bytes | str | float | None) -> float | None:
    """Seconds since the epoch that have a date, whatever was written."""
    if value is None or value in ("", b""):
        return None
    seconds = float(value)
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LAST)


def count(value: bytes | str | int) -> int:
    return min(max(int(value or 0), 0), _MOST)


def reference(key: bytes | str, uid: bytes | str) -> ScheduleRef | None:
    """The schedule that a key ``{ks:<install>/<namespace>/<name>/<uid8>}:meta`` belongs to; None for a key that is none of ours."""
    try:
        found = _KEY.fullmatch(text(key))
        if found is None or len(uid) > 64:
            return None
        install, namespace, name = found.groups()
        return ScheduleRef(install, namespace, name, text(uid))
    except UnicodeDecodeError:
        return None


def body(job: Job) -> str:
    return to_json(job).decode()


def kind(job: Job) -> str:
    """What the queue must know of a job: retry, planned (it keeps its sweep open), or none of both."""
    if job.is_retry:
        return "h"
    return "p" if job.sweep else "n"


def fence(claim: Claim) -> tuple[str, str, int]:
    return claim.id, claim.consumer, claim.delivery


def settlement(s: Settlement) -> tuple[Any, ...]:
    claim = s.claim
    job = claim.job
    plain = not (job.is_retry or s.retry or s.dead or s.jobs or s.rest or s.sweep_failure) and s.batch_hint is None
    return (
        claim.id,
        claim.consumer,
        claim.delivery,
        job.sweep,
        job.is_retry,
        s.applied,
        s.skipped,
        s.unconfirmed,
        s.extra,
        False if plain else _more(s),
        s.refund,
    )


def _more(s: Settlement) -> dict[str, Any]:
    job = s.claim.job
    again = Job(JobKind.KEYS, job.plan, job.sweep, job.cutoff, is_retry=True, origin=job.origin)
    more: dict[str, Any] = {
        "origin": job.origin,
        "retry": [
            {
                "rows": [_failed(row) for row in group.rows],
                "delay": group.delay,
                "body": body(msgspec.structs.replace(again, attempt=group.attempt)),
            }
            for group in s.retry
        ],
        "dead": [_failed(row) for row in s.dead],
        "jobs": [(kind(child), child.rows, body(child)) for child in s.jobs],
        "free": _freed(s) if job.is_retry else (),
    }
    if s.rest is not None:
        more["rest"] = body(s.rest)
    if s.batch_hint is not None:
        more["batch_hint"] = s.batch_hint
    if s.sweep_failure is not None:
        more["sweep_failure"] = s.sweep_failure
    return more


def _failed(row: FailedRow) -> tuple[str, ...]:
    return key_text(row.key), row.error, row.message, row.where, row.effect_key


def _freed(s: Settlement) -> list[str]:
    """Rows of a retry job that are dealt with: neither failing again nor in what is left of the job."""
    stay = {row.key for group in s.retry for row in group.rows} | {row.key for row in s.dead}
    for job in s.jobs if s.rest is None else (*s.jobs, s.rest):
        stay.update(job.keys)
    job = s.claim.job
    return [row_text(job.origin, key) for key in job.keys if key not in stay]


def budget(rows: bytes | str, now: bytes | str) -> Budget | None:
    left = number(rows)
    return None if left is None else Budget(left, number(now))


def claims(reply: Sequence[Any] | None, consumer: str) -> Claims:
    if not reply:
        return Claims(lost=True)
    paused, wait, next_delayed, excluded_version, flat, batch_hint, next_in, rows, now = reply
    parts = iter(flat)
    return Claims(
        jobs=tuple(
            Claim(text(id_), consumer, delivery, decode_job(job))
            for id_, delivery, job in zip(parts, parts, parts, strict=True)
        ),
        paused=int(paused) == 1,
        wait=number(wait),
        next_delayed=number(next_delayed),
        next_in=number(next_in),
        budget=budget(rows, now),
        excluded_version=int(excluded_version),
        batch_hint=text(batch_hint),
    )


def settled(reply: Sequence[Any], consumer: str) -> Settled:
    lost, finished, halted, taken = reply
    return Settled(_texts(lost), _texts(finished), _texts(halted), claims(taken, consumer))


def _texts(values: Iterable[bytes | str]) -> tuple[str, ...]:
    return tuple(text(value) for value in values)


def stats(reply: Sequence[Any] | None) -> Stats:
    if not reply:
        return Stats()
    paused, meta, ready, running, delayed, held, dead, oldest, sweeps, findings, lease = reply
    tick, *ticks, origin, _cursor = meta
    known = [sweep(raw) for raw in sweeps]
    return Stats(
        known=True,
        ready=count(ready),  # differences of what several keys hold
        running=running,
        delayed=count(delayed),
        excluded=held,
        dead=dead,
        oldest_ready=moment(oldest),
        first_lease=moment(lease),
        paused=paused == 1,
        last_tick=moment(tick),
        ticks=TickCounts(*map(count, ticks)),
        sweep=known[0] if known else None,
        history=tuple(known[1:]),
        findings=tuple(sorted((_finding(raw) for raw in findings), key=lambda finding: finding.kind)),
        origin=text(origin),
    )


def _finding(raw: bytes | str) -> Finding:
    at, _, spelled = text(raw).partition(" ")
    return msgspec.structs.replace(_decode_finding(spelled), at=moment(at) or 0.0)


def sweep(raw: bytes | str) -> Sweep:
    r = _decode_record(raw)
    return Sweep(
        id=r.id,
        tick=moment(r.tick) or 0.0,
        plan=PlanVersion(r.generation, r.hash),
        mode=r.mode,
        state=r.state,
        reason=r.reason,
        message=r.message,
        cutoff=r.cutoff,
        started=moment(r.started) or 0.0,
        finished=moment(r.finished),
        planned=count(r.planned),
        applied=count(r.applied),
        skipped=count(r.skipped),
        unconfirmed=count(r.unconfirmed),
        retrying=count(r.retrying),
        dead=count(r.dead),
        open_jobs=count(r.open),
        capped=r.capped,
        stopped=r.stopped,
        samples=tuple(parse_key(key) for key in r.samples),
    )


def letters(flat: Sequence[Any]) -> list[DeadLetter]:
    parts = iter(flat)
    found = []
    for name, at, raw in zip(parts, parts, parts, strict=True):
        origin, key = parse_row(text(name))
        row = _decode_row(raw)
        attempts = tuple(Attempt(*attempt) for attempt in row.a[-ATTEMPTS:])
        attempts = (*attempts[:-1], msgspec.structs.replace(attempts[-1], where=row.w, effect_key=row.t))
        found.append(
            DeadLetter(key, attempts[-1].error, attempts[-1].message, moment(at) or 0.0, row.s, attempts, origin)
        )
    return found


def rows_in_retry(flat: Sequence[Any]) -> list[DeadLetter]:
    parts = iter(flat)
    found = []
    for name, raw in zip(parts, parts, strict=True):
        origin, key = parse_row(text(name))
        row = _decode_row(raw)
        attempts = tuple(Attempt(*attempt) for attempt in row.a[-ATTEMPTS:])
        last = attempts[-1]
        found.append(DeadLetter(key, last.error, last.message, last.at, row.s, attempts, origin))
    return found


class Groups:
    """Rows by error class and origin, counted as they come, in any order. What is kept of them is bounded, whatever somebody else
    wrote: message and samples are those of the newest rows, by their keys within one moment."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], ErrorGroup] = {}
        self._newest: dict[tuple[str, str], list[tuple[float, Key]]] = {}

    def add(self, row: DeadLetter) -> None:
        place = row.error[:MESSAGE], row.origin[:MESSAGE]
        known = self._known.get(place)
        if known is None:
            if len(self._known) == GROUPS:
                return
            known = ErrorGroup(place[0], 0, "", row.at, row.at, (), place[1])
        newest = self._newest.setdefault(place, [])
        mine = -row.at, row.key
        first = not newest or mine < newest[0]
        if sum(map(len, row.key)) <= MESSAGE:
            insort(newest, mine)
            del newest[SAMPLES:]
        self._known[place] = msgspec.structs.replace(
            known,
            count=known.count + 1,
            message=row.message[:MESSAGE] if first else known.message,
            first=min(known.first, row.at),
            last=max(known.last, row.at),
        )

    def largest(self, most: int) -> tuple[ErrorGroup, ...]:
        found = sorted(self._known.items(), key=lambda each: (-each[1].count, each[0]))[:most]
        return tuple(
            msgspec.structs.replace(group, samples=tuple(key for _, key in self._newest[place]))
            for place, group in found
        )


def excluded(version: bytes | str, names: Iterable[bytes | str], origin: str) -> ExcludedRows:
    return excluded_rows(int(version), (text(name) for name in names), origin)
