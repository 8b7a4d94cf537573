"""Encodes the arguments of the Lua scripts.

They are one MessagePack map, so a batch of a thousand jobs is one argument.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kubesweep.queue.excluded import row_text
from kubesweep.queue.model import Claim, FailedRow, Job, JobKind, Settlement, key_text, to_json

pack = msgspec.msgpack.Encoder().encode


def body(job: Job) -> str:
    return to_json(job).decode()


def kind(job: Job) -> str:
    """The kind of an entry: h (a retry; queues store this letter), p (planned: it keeps its sweep open) or n (neither)."""
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
        "free": _done_rows(s) if job.is_retry else (),
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


def _done_rows(s: Settlement) -> list[str]:
    """Rows of a retry job that are done: they did not fail again and are not in the rest of the job."""
    stay = {row.key for group in s.retry for row in group.rows} | {row.key for row in s.dead}
    for job in s.jobs if s.rest is None else (*s.jobs, s.rest):
        stay.update(job.keys)
    job = s.claim.job
    return [row_text(job.origin, key) for key in job.keys if key not in stay]
