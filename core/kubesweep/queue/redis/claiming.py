"""Waiting for jobs and claiming them: the operations of RedisQueue that block."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from kubesweep.errors import Outage
from kubesweep.queue.model import LONGEST_LEASE, Claim, Claims, Limits, ScheduleRef
from kubesweep.queue.redis import arguments, replies
from kubesweep.queue.redis.client import RedisClient
from kubesweep.queue.redis.scripts import keys

POLL = 0.05  # seconds between two reads of an injected clock


async def wait(client: RedisClient, ref: ScheduleRef, timeout: float) -> None:
    """See ``WorkerQueue.wait``."""
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    while True:
        streams, due = _blocking_read(keys(ref.prefix), await client.run_script("next_event", ref))
        left = min(until - loop.time(), due)
        if left <= 0 or await client.read(streams, min(left, POLL) if client.clock else left):
            return


async def claim_next(
    client: RedisClient, ref: ScheduleRef, consumer: str, want: int, limits: Limits, timeout: float
) -> Claims:
    """See ``WorkerQueue.claim_next``."""
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    while True:
        streams, due = _blocking_read(keys(ref.prefix), await client.run_script("next_event", ref))
        left = min(until - loop.time(), due)
        pause = max(0.0, min(left, POLL) if client.clock else left)
        claiming = asyncio.ensure_future(_read_and_claim(client, ref, consumer, want, limits, streams, pause))
        try:
            read, claims = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await _cancel(client, ref, claiming)
            raise
        if read or claims.jobs or pause >= left:
            return claims


async def release(client: RedisClient, ref: ScheduleRef, claims: Sequence[Claim]) -> tuple[str, ...]:
    """See ``WorkerQueue.release``."""
    released = [(*arguments.fence(claim), claim.job.rows, arguments.body(claim.job), claim.refund) for claim in claims]
    return lost_ids(await client.run_script("release", ref, claims=released), claims)


def lost_ids(reply: Sequence[Any] | None, claims: Sequence[Claim]) -> tuple[str, ...]:
    """The ids that a script answered as lost, or all of them where the schedule is gone."""
    ids: Sequence[Any] = [claim.id for claim in claims] if reply is None else reply
    return tuple(replies.text(id_) for id_ in ids)


def claim_arguments(consumer: str, want: int, limits: Limits) -> dict[str, Any]:
    lease = {"lease": limits.lease, "longest": LONGEST_LEASE, "own_expired_only": limits.own_expired_only}
    return {"consumer": consumer, "want": want, **lease, **rate_arguments(limits)}


def rate_arguments(limits: Limits) -> dict[str, Any]:
    return {"rate": limits.rows_per_second or None, "burst": limits.saved}


async def _read_and_claim(
    client: RedisClient,
    ref: ScheduleRef,
    consumer: str,
    want: int,
    limits: Limits,
    streams: dict[bytes, str],
    pause: float,
) -> tuple[bool, Claims]:
    given = claim_arguments(consumer, want, limits)
    read, reply = await client.read_and_run(streams, pause, "claim", ref, **given)
    claims = client.decode_reply(lambda found: replies.claims(found, consumer), reply)
    return bool(read if claims.jobs else client.answer(read)), claims


async def _cancel(client: RedisClient, ref: ScheduleRef, claiming: asyncio.Future[tuple[bool, Claims]]) -> None:
    """End the read that the claim waits for, and release the jobs that it took.

    The server may run the claim at any moment. If it does not answer, the lease returns the jobs later.
    """
    try:
        async with asyncio.timeout(client.timeout):
            if claiming.done() or await client.run_script("wake", ref):
                _, claims = await asyncio.shield(claiming)
                await release(client, ref, claims.jobs)
    except (Outage, TimeoutError):
        return
    finally:
        if not claiming.cancel() and not claiming.cancelled():
            claiming.exception()  # mark it as retrieved, so that asyncio does not log it


def _blocking_read(names: Sequence[bytes], event: Sequence[Any] | None) -> tuple[dict[bytes, str], float]:
    """The streams that a blocking read must watch, and the seconds after which it must end without a new entry."""
    known, paused, cursor, signal, soonest, debt = event or (0, 0, "0-0", "0-0", "", "")
    watch = {names[10]: replies.text(signal)}
    if paused:
        return watch, math.inf
    if debt:
        return watch, float(debt)
    watch[names[1]] = replies.text(cursor)
    return watch, float(soonest) if known and soonest else math.inf
