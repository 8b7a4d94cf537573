"""The excluded set on Redis as people see and change it: dead letters, and rows in retry.

Rows in retry are in the bodies of their jobs, which only Python reads. So a change of them is two moves: one reads the jobs
that no worker has, the other replaces those that are still there as they were.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from kubesweep.queue.excluded import narrowed, retry_now, row_text, split_retry
from kubesweep.queue.model import (
    MAX_JOB_KEYS,
    DeadLetter,
    ErrorGroup,
    Key,
    RowState,
    ScheduleRef,
    key_text,
)
from kubesweep.queue.redis import codec as codec
from kubesweep.queue.redis.client import RedisLink

PAGE = 1000  # dead letters read at once
MOST = 100_000  # that are read at all: a sweep halts long before it makes as many
Keys = Sequence[Key] | None


async def letters(
    link: RedisLink, ref: ScheduleRef, error: str | None, wanted: Keys, state: RowState | None
) -> list[DeadLetter]:
    """All that fit, newest first."""
    found = [each async for each in _rows(link, ref, state) if _fits(each, error, wanted)]
    return sorted(found, key=lambda letter: (-letter.at, letter.key))


async def groups(link: RedisLink, ref: ScheduleRef, state: RowState | None, most: int) -> tuple[ErrorGroup, ...]:
    """The largest groups by error class and origin. Rows are counted as they come, none is kept."""
    known = codec.Groups()
    async for each in _rows(link, ref, state):
        known.add(each)
    return known.largest(most)


def _fits(letter: DeadLetter, error: str | None, wanted: Keys) -> bool:
    return error in (None, letter.error) and (wanted is None or letter.key in wanted)


async def _rows(link: RedisLink, ref: ScheduleRef, state: RowState | None) -> AsyncIterator[DeadLetter]:
    """Held rows, a page in memory at a time: dead ones newest first, then those in retry."""
    at = 0 if state is not RowState.RETRYING else -1
    while 0 <= at < MOST:
        at, flat = await link.move("letters", ref, **{"from": at, "most": PAGE})
        for letter in link.understood(codec.letters, flat):
            yield letter
    cursor, seen = "0", set[tuple[str, Key]]()
    while state is not RowState.DEAD:
        cursor, flat = await link.move("retrying", ref, cursor=codec.text(cursor))
        for row in link.understood(codec.rows_in_retry, flat):
            if (row.origin, row.key) not in seen:
                seen.add((row.origin, row.key))
                yield row
        if codec.text(cursor) == "0" or len(seen) >= MOST:
            return


async def replay(link: RedisLink, ref: ScheduleRef, error: str | None, keys: Keys) -> int:
    dead = await _all_of(link, ref, "replay", error=error, keys=_texts(keys), most=MAX_JOB_KEYS)
    return dead + await _rearrange(link, ref, error, keys, purge=False)


async def purge(link: RedisLink, ref: ScheduleRef, error: str | None, keys: Keys) -> int:
    dead = await _all_of(link, ref, "purge", error=error, keys=_texts(keys))
    return dead + await _rearrange(link, ref, error, keys, purge=True)


async def _all_of(link: RedisLink, ref: ScheduleRef, name: str, **arguments: Any) -> int:
    """Repeat a move that takes a part of the dead letters until it finds none; how many it took."""
    taken = 0
    while taken < MOST and (more := int(await link.move(name, ref, **arguments) or 0)):
        taken += more
    return taken


async def _rearrange(link: RedisLink, ref: ScheduleRef, error: str | None, keys: Keys, *, purge: bool) -> int:
    rows = _rows(link, ref, RowState.RETRYING)
    chosen = {row_text(row.origin, row.key) async for row in rows if _fits(row, error, keys)}
    if not chosen:
        return 0
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
