"""The held set on Redis as people see and change it: dead letters, and rows in retry.

Rows in retry are in the bodies of their jobs, which only Python reads. So a change of them is two moves: one reads the jobs
that no worker has, the other replaces those that are still there as they were.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubesweep.queue import redis_codec as codec
from kubesweep.queue.held import narrowed, retry_now, row_text, split_retry
from kubesweep.queue.model import (
    MAX_JOB_KEYS,
    DeadLetter,
    HeldState,
    Key,
    ScheduleRef,
    key_text,
)
from kubesweep.queue.redis_link import RedisLink

PAGE = 1000  # dead letters read at once
MOST = 100_000  # that are read at all: a sweep halts long before it makes as many
Keys = Sequence[Key] | None


async def letters(
    link: RedisLink, ref: ScheduleRef, error: str | None, wanted: Keys, state: HeldState | None
) -> list[DeadLetter]:
    """All that fit, newest first."""
    found: list[DeadLetter] = []
    if state is not HeldState.RETRYING:
        for offset in range(0, MOST, PAGE):
            flat = await link.move("letters", ref, **{"from": offset, "most": PAGE})
            found += link.understood(codec.letters, flat)
            if len(flat) < 3 * PAGE:
                break
    if state is not HeldState.DEAD:
        found += link.understood(codec.rows_in_retry, await link.move("retrying", ref))
    fit = [each for each in found if error in (None, each.error) and (wanted is None or each.key in wanted)]
    return sorted(fit, key=lambda letter: (-letter.at, letter.key))


async def replay(link: RedisLink, ref: ScheduleRef, error: str | None, keys: Keys) -> int:
    dead = await link.move("replay", ref, error=error, keys=_texts(keys), most=MAX_JOB_KEYS)
    return int(dead or 0) + await _rearrange(link, ref, error, keys, purge=False)


async def purge(link: RedisLink, ref: ScheduleRef, error: str | None, keys: Keys) -> int:
    dead = await link.move("purge", ref, error=error, keys=_texts(keys))
    return int(dead or 0) + await _rearrange(link, ref, error, keys, purge=True)


async def _rearrange(link: RedisLink, ref: ScheduleRef, error: str | None, keys: Keys, *, purge: bool) -> int:
    rows = await letters(link, ref, error, keys, HeldState.RETRYING)
    if not rows:
        return 0
    chosen = {row_text(row.origin, row.key) for row in rows}
    now, here, flat = await link.move("retries", ref)
    parts = iter(flat)
    changes = []
    for where, due, header, body in zip(parts, parts, parts, parts, strict=True):
        job = codec.decode_job(body)
        elsewhere = bool(here) and job.origin not in ("", codec.text(here))
        if not purge and (elsewhere or not due or float(due) <= float(now)):
            continue
        taken, left = split_retry(job, chosen)
        if taken:
            rest = narrowed(job, left)
            again = False if purge else codec.body(retry_now(job, taken))
            names = [row_text(job.origin, key) for key in taken]
            old = codec.text(where), codec.text(header), codec.text(body)
            changes.append((*old, len(left), codec.body(rest), again, names))
    return int(await link.move("rearrange", ref, changes=changes) or 0) if changes else 0


def _texts(wanted: Keys) -> list[str] | None:
    return None if wanted is None else [key_text(key) for key in wanted]
