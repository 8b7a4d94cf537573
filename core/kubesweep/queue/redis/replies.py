"""Decodes the replies of the Lua scripts.

Replies have only texts and small integers, so they are the same for a client that decodes replies and for one that does not.
Another program may have written to the keys: numbers and times are limited to a range that all callers can handle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kubesweep.queue.excluded import excluded_rows, parse_row
from kubesweep.queue.model import (
    ATTEMPTS,
    Attempt,
    Budget,
    Claim,
    Claims,
    DeadLetter,
    ExcludedRows,
    Finding,
    Job,
    PlanVersion,
    RowCounts,
    ScheduleRef,
    Stats,
    Sweep,
    SweepState,
    TickCounts,
    parse_baseline,
    parse_key,
    parse_pace,
    parse_pauses,
)
from kubesweep.queue.service import Settled
from kubesweep.timestamps import clamp_time

decode_job = msgspec.json.Decoder(Job).decode
_decode_finding = msgspec.json.Decoder(Finding).decode
_KEY = re.compile(r"\{ks:([^/{}]+)/([^/{}]+)/([^/{}]+)/[^/{}]+\}:meta")
_MOST = 2**53  # the largest count that JSON keeps


class _SweepRecord(msgspec.Struct):
    """A sweep as sweeps.lua writes it."""

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
    stale: int | None = None
    oldest: float | None = None
    unknown: str = ""
    estimated: bool = False
    newest: float | None = None
    approved: float | None = None


class _ExcludedRow(msgspec.Struct):
    """An excluded row as settle.lua writes it."""

    s: str  # sweep
    a: tuple[tuple[float, str, str], ...]  # attempts, oldest first: time, error class, message
    w: str = ""  # where the error of the latest attempt was raised
    t: str = ""  # the Idempotency-Key under which the row's effect succeeded


_decode_sweep = msgspec.json.Decoder(_SweepRecord, strict=False).decode
_decode_row = msgspec.json.Decoder(_ExcludedRow, strict=False).decode


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def number(value: bytes | str) -> float | None:
    return float(text(value)) if value else None


def moment(value: bytes | str | float | None) -> float | None:
    """Seconds since the epoch, limited to times that have a date."""
    if value is None or value in ("", b""):
        return None
    return clamp_time(float(value) if isinstance(value, float) else float(text(value)))


def count(value: bytes | str | int) -> int:
    return min(max(value if isinstance(value, int) else int(text(value) or 0), 0), _MOST)


def reference(key: bytes | str, uid: bytes | str) -> ScheduleRef | None:
    """The schedule of a key ``{ks:<install>/<namespace>/<name>/<uid8>}:meta``; None for any other key."""
    try:
        found = _KEY.fullmatch(text(key))
        if found is None or len(uid) > 64:
            return None
        install, namespace, name = found.groups()
        return ScheduleRef(install, namespace, name, text(uid))
    except UnicodeDecodeError:
        return None


def budget(rows: bytes | str, now: bytes | str) -> Budget | None:
    left = number(rows)
    return None if left is None else Budget(left, number(now))


def claims(reply: Sequence[Any] | None, consumer: str) -> Claims:
    if not reply:
        return Claims(lost=True)
    paused, wait, next_delayed, excluded_version, flat, batch_hint, next_in, rows, now, pace, waits = reply
    parts, runs = iter(flat), iter(waits)
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
        excluded_version=count(excluded_version),
        batch_hint=text(batch_hint),
        pace=parse_pace(pace),
        waits=tuple((jobs, float(text(seconds))) for jobs, seconds in zip(runs, runs, strict=True)),
    )


def settled(reply: Sequence[Any], consumer: str) -> Settled:
    lost, finished, halted, taken, rows = reply
    return Settled(_texts(lost), _texts(finished), _texts(halted), claims(taken, consumer), RowCounts(*rows))


def _texts(values: Iterable[bytes | str]) -> tuple[str, ...]:
    return tuple(text(value) for value in values)


def stats(reply: Sequence[Any] | None) -> Stats:
    if not reply:
        return Stats()
    paused, meta, *counts, oldest, sweeps, findings, lease, pace, checks, blocked, now = reply
    ready, running, delayed, excluded_count, dead = counts
    tick, *ticks, origin, _cursor, baseline, paced, pauses = meta
    known = [sweep(raw) for raw in sweeps]
    return Stats(
        known=True,
        ready=count(ready),  # a difference of the lengths of several keys
        running=running,
        delayed=count(delayed),
        excluded=excluded_count,
        dead=dead,
        checks=checks,
        oldest_ready=moment(oldest),
        first_lease=moment(lease),
        paused=paused == 1,
        retries_blocked=blocked == 1,
        pauses=parse_pauses(text(pauses), float(text(now))),
        pace=parse_pace(pace),
        paced=paced in (b"1", "1"),
        last_tick=moment(tick),
        ticks=TickCounts(*map(count, ticks)),
        sweep=known[0] if known else None,
        history=tuple(known[1:]),
        findings=tuple(sorted((_finding(raw) for raw in findings), key=lambda finding: finding.kind)),
        origin=text(origin),
        baseline=parse_baseline(baseline),
    )


def _finding(raw: bytes | str) -> Finding:
    at, _, spelled = text(raw).partition(" ")
    return msgspec.structs.replace(_decode_finding(spelled), at=moment(at) or 0.0)


def sweep(raw: bytes | str) -> Sweep:
    r = _decode_sweep(raw)
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
        stale=None if r.stale is None else count(r.stale),
        oldest=moment(r.oldest),
        oldest_unknown=r.unknown,
        estimated=r.estimated,
        newest=moment(r.newest),
        approved=moment(r.approved),
    )


def dead_letters(flat: Sequence[Any]) -> list[DeadLetter]:
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


def excluded(version: bytes | str, names: Iterable[bytes | str], origin: str) -> ExcludedRows:
    return excluded_rows(count(version), (text(name) for name in names), origin)
