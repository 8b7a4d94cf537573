"""Reading and changing the excluded set on Redis: dead letters, and rows in retry.

The rows in retry are in the bodies of their jobs, which only Python decodes. A change of them therefore takes two scripts: one
reads the unclaimed retry jobs, and the other replaces those that have not changed since.
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
from kubesweep.queue.redis import arguments, replies
from kubesweep.queue.redis.client import RedisClient
from kubesweep.queue.redis.error_groups import ErrorGroupCounter

PAGE = 1000  # dead letters for each read
MOST = 100_000  # rows read in all; a sweep halts long before it has as many
Keys = Sequence[Key] | None


async def dead_letters(
    client: RedisClient, ref: ScheduleRef, error: str | None, wanted: Keys, state: RowState | None
) -> list[DeadLetter]:
    """The rows that match, newest first."""
    found = [each async for each in _rows(client, ref, state) if _matches(each, error, wanted)]
    return sorted(found, key=lambda dead_letter: (-dead_letter.at, dead_letter.key))


async def groups(client: RedisClient, ref: ScheduleRef, state: RowState | None, most: int) -> tuple[ErrorGroup, ...]:
    """The largest groups by error class and origin. Rows are counted one by one, not kept."""
    known = ErrorGroupCounter()
    async for each in _rows(client, ref, state):
        known.add(each)
    return known.largest(most)


def _matches(dead_letter: DeadLetter, error: str | None, wanted: Keys) -> bool:
    return error in (None, dead_letter.error) and (wanted is None or dead_letter.key in wanted)


async def _rows(client: RedisClient, ref: ScheduleRef, state: RowState | None) -> AsyncIterator[DeadLetter]:
    """Excluded rows, with one page in memory: dead ones, newest first, then those in retry."""
    at = 0 if state is not RowState.RETRYING else -1
    while 0 <= at < MOST:
        at, flat = await client.run_script("dead_letters", ref, **{"from": at, "most": PAGE})
        for dead_letter in client.decode_reply(replies.dead_letters, flat):
            yield dead_letter
    cursor, seen = "0", set[tuple[str, Key]]()
    while state is not RowState.DEAD:
        cursor, flat = await client.run_script("rows_in_retry", ref, cursor=replies.text(cursor))
        for row in client.decode_reply(replies.rows_in_retry, flat):
            if (row.origin, row.key) not in seen:
                seen.add((row.origin, row.key))
                yield row
        if replies.text(cursor) == "0" or len(seen) >= MOST:
            return


async def replay(client: RedisClient, ref: ScheduleRef, error: str | None, keys: Keys) -> int:
    dead = await _repeat(client, ref, "replay", error=error, keys=_texts(keys), most=MAX_JOB_KEYS)
    return dead + await _change_retries(client, ref, error, keys, purge=False)


async def purge(client: RedisClient, ref: ScheduleRef, error: str | None, keys: Keys) -> int:
    dead = await _repeat(client, ref, "purge", error=error, keys=_texts(keys))
    return dead + await _change_retries(client, ref, error, keys, purge=True)


async def _repeat(client: RedisClient, ref: ScheduleRef, name: str, **given: Any) -> int:
    """Repeat a script that handles a part of the dead letters until none is left. Returns how many it handled."""
    taken = 0
    while taken < MOST and (more := int(await client.run_script(name, ref, **given) or 0)):
        taken += more
    return taken


async def _change_retries(client: RedisClient, ref: ScheduleRef, error: str | None, keys: Keys, *, purge: bool) -> int:
    rows = _rows(client, ref, RowState.RETRYING)
    chosen = {row_text(row.origin, row.key) async for row in rows if _matches(row, error, keys)}
    if not chosen:
        return 0
    now, here, flat = await client.run_script("idle_retries", ref)
    parts = iter(flat)
    changes = []
    for where, due, header, body in zip(parts, parts, parts, parts, strict=True):
        job = replies.decode_job(body)
        elsewhere = bool(here) and job.origin not in ("", replies.text(here))
        if not purge and (elsewhere or not due or float(due) <= float(now)):
            continue
        taken, left = split_retry(job, chosen)
        if taken:
            rest = narrowed(job, left)
            again = False if purge else arguments.body(retry_now(job, taken))
            names = [row_text(job.origin, key) for key in taken]
            old = replies.text(where), replies.text(header), replies.text(body)
            changes.append((*old, len(left), arguments.body(rest), again, names))
    return int(await client.run_script("change_retries", ref, changes=changes) or 0) if changes else 0


def _texts(wanted: Keys) -> list[str] | None:
    return None if wanted is None else [key_text(key) for key in wanted]
