"""RedisQueue: the queue that a cluster runs on, on Redis 7.0 or newer, or Valkey.

Every move is one Lua script (lua/<move>.lua), so it happens whole or not at all, whichever process dies when. This file
only packs arguments, calls (redis_link.py) and unpacks (redis_codec.py). Time is the server's, so the clocks of the workers' hosts do not matter.

A move whose answer was lost may have happened. Repeating it is harmless: a settlement finds its claim gone and counts
nothing, a tick finds itself a duplicate, and jobs of a lost claim come again when their lease ends.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kubesweep.errors import Outage
from kubesweep.queue.model import (
    AHEAD,
    ATTEMPTS,
    BEHIND,
    END_STATES,
    FLOOD,
    HISTORY,
    LONGEST_LEASE,
    MAX_FINDINGS,
    MAX_SAMPLES,
    RETRY_PAUSE,
    Budget,
    Claim,
    Claims,
    DeadLetter,
    ErrorGroup,
    ExcludedRows,
    Finding,
    Job,
    JobKind,
    Key,
    Limits,
    OpenResult,
    PlanVersion,
    RowState,
    ScheduleRef,
    Settlement,
    Stats,
    SweepRequest,
    SweepState,
    Window,
    key_text,
)
from kubesweep.queue.redis import codec as codec
from kubesweep.queue.redis import excluded
from kubesweep.queue.redis.client import RedisLink
from kubesweep.queue.redis.scripts import keys
from kubesweep.queue.service import Opened, Settled

KEEP = 7 * 86400.0  # seconds that the keys of a schedule outlive its last tick, at least
MAX_CHECKED = 100
MAX_SCHEDULES = 50_000  # that a look at the whole server finds
POLL = 0.05  # how often a wait looks at an injected clock


class RedisQueue:
    """A :class:`~kubesweep.queue.service.QueueService` on the server that ``url`` names; connects at the first move.

    ``clock`` (seconds since the epoch) replaces the server's clock, for tests. Every ``Outage`` names the server, what is
    wrong and the next step; its reasons are listed in redis_errors.py. Raises ``SpecError`` for a URL of no known form.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None) -> None:
        self._link = RedisLink(url, clock)

    async def close(self) -> None:
        """Close the connections. Claims stay with their consumer until their leases end; closing twice is harmless."""
        await self._link.close()

    async def open_sweep(self, ref: ScheduleRef, wish: SweepRequest) -> Opened:
        id_ = wish.sweep_id(ref)
        answer, sweep, ahead = await self._link.move(
            "open_sweep",
            ref,
            id=id_,
            uid=ref.uid,
            tick=wish.tick,
            ahead=AHEAD,
            behind=None if wish.dedup_key is None else BEHIND,
            deadline=wish.deadline,
            generation=wish.plan.generation,
            hash=wish.plan.hash,
            mode=wish.mode,
            retention=wish.retention,
            ttl=int(max(wish.retention, KEEP) * 1000),
            remember=HISTORY + 1,
            body=codec.body(Job(JobKind.PLAN, wish.plan, id_)),
        )
        return Opened(OpenResult(codec.text(answer)), codec.text(sweep), float(ahead))

    async def claim(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits) -> Claims:
        reply = await self._link.move("claim", ref, **_taking(consumer, want, limits))
        return codec.claims(reply, consumer)

    async def extend(self, ref: ScheduleRef, claims: Sequence[Claim], lease: float) -> tuple[str, ...]:
        lost = await self._link.move("extend", ref, claims=[codec.fence(claim) for claim in claims], lease=lease)
        return _lost(lost, claims)

    async def settle(
        self, ref: ScheduleRef, consumer: str, settlements: Sequence[Settlement], want: int, limits: Limits
    ) -> Settled:
        reply = await self._link.move(
            "settle",
            ref,
            settlements=[codec.settlement(s) for s in settlements],
            halt_above=limits.halt_above,
            halt_at_end=limits.halt_at_end,
            attempts=ATTEMPTS,
            flood=FLOOD,
            **_taking(consumer, want, limits),
        )
        if reply is None:
            return Settled(lost=tuple(s.claim.id for s in settlements), claims=Claims(lost=True))
        return codec.settled(reply, consumer)

    async def advance(self, ref: ScheduleRef, claim: Claim, window: Window) -> bool:
        jobs = window.entries
        done = await self._link.move(
            "advance",
            ref,
            claim=codec.fence(claim),
            sweep=claim.job.sweep,
            jobs=[(job.rows, codec.body(job)) for job in jobs],
            cutoff=window.cutoff,
            origin=window.origin,
            planned=window.planned,
            capped=window.capped,
            stopped=window.stopped,
            samples=[key_text(key) for key in window.samples],
            most=MAX_SAMPLES,
            last=window.next is None,
        )
        return bool(done)

    async def end_sweep(self, ref: ScheduleRef, claim: Claim, state: SweepState, reason: str, message: str) -> bool:
        if state not in END_STATES:
            raise ValueError(f"end_sweep takes one of {', '.join(sorted(END_STATES))}, not {state}")
        done = await self._link.move(
            "end_sweep",
            ref,
            claim=codec.fence(claim),
            sweep=claim.job.sweep,
            is_retry=claim.job.is_retry,
            cutoff=claim.job.cutoff,
            state=state.value,
            reason=reason,
            message=message,
            pause=RETRY_PAUSE,
        )
        return bool(done)

    async def release(self, ref: ScheduleRef, claims: Sequence[Claim]) -> tuple[str, ...]:
        back = [(*codec.fence(claim), claim.job.rows, codec.body(claim.job), claim.refund) for claim in claims]
        return _lost(await self._link.move("release", ref, claims=back), claims)

    async def reserve(self, ref: ScheduleRef, rows: int, limits: Limits) -> Budget:
        left, now = await self._link.move("reserve", ref, rows=rows, debt=limits.debt, **_rate(limits))
        return codec.budget(left, now) or Budget()

    async def wait(self, ref: ScheduleRef, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            streams, due = _blocking_read(keys(ref.prefix), await self._link.move("look", ref))
            left = min(until - loop.time(), due)
            if left <= 0 or await self._link.read(streams, min(left, POLL) if self._link.clock else left):
                return

    async def claim_next(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits, timeout: float) -> Claims:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            streams, due = _blocking_read(keys(ref.prefix), await self._link.move("look", ref))
            left = min(until - loop.time(), due)
            pause = max(0.0, min(left, POLL) if self._link.clock else left)
            claiming = asyncio.ensure_future(self._read_and_claim(ref, consumer, want, limits, streams, pause))
            try:
                read, claims = await asyncio.shield(claiming)
            except asyncio.CancelledError:
                await self._recall(ref, claiming)
                raise
            if read or claims.jobs or pause >= left:
                return claims

    async def _read_and_claim(
        self, ref: ScheduleRef, consumer: str, want: int, limits: Limits, streams: dict[bytes, str], pause: float
    ) -> tuple[bool, Claims]:
        taking = _taking(consumer, want, limits)
        read, reply = await self._link.read_and_move(streams, pause, "claim", ref, **taking)
        claims = codec.claims(reply, consumer)
        return bool(read if claims.jobs else self._link.answer(read)), claims

    async def _recall(self, ref: ScheduleRef, claiming: asyncio.Future[tuple[bool, Claims]]) -> None:
        """The claim may be made at any moment: end the read that it waits for, and give back what it took. Where the server
        does not answer, the lease does the same, later."""
        try:
            async with asyncio.timeout(self._link.timeout):
                if claiming.done() or await self._link.move("wake", ref):
                    _, claims = await asyncio.shield(claiming)
                    await self.release(ref, claims.jobs)
        except (Outage, TimeoutError):
            return
        finally:
            if not claiming.cancel() and not claiming.cancelled():
                claiming.exception()  # it is known

    async def enqueue_check(self, ref: ScheduleRef, plan: PlanVersion, *, again: bool = False) -> bool:
        done = await self._link.move(
            "enqueue_check",
            ref,
            uid=ref.uid,
            hash=plan.hash,
            again=again,
            most=MAX_CHECKED,
            body=codec.body(Job(JobKind.CHECK, plan)),
        )
        return bool(done)

    async def approve(self, ref: ScheduleRef, sweep: str | None = None) -> str | None:
        return codec.text(await self._link.move("approve", ref, sweep=sweep) or "") or None

    async def approved(self, ref: ScheduleRef) -> str | None:
        return codec.text(await self._link.move("approved", ref) or "") or None

    async def pause(self, ref: ScheduleRef, paused: bool) -> None:
        await self._link.move("pause", ref, paused=int(paused))

    async def report(self, ref: ScheduleRef, finding: Finding) -> None:
        body = msgspec.json.encode(finding).decode()
        await self._link.move("report", ref, kind=finding.kind, at=finding.at or None, body=body, most=MAX_FINDINGS)

    async def excluded(self, ref: ScheduleRef, origin: str = "") -> ExcludedRows:
        version, names = await self._link.move("excluded", ref)
        return codec.excluded(version, names, origin)

    async def stats(self, refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
        return tuple(self._link.understood(codec.stats, reply) for reply in await self._link.move_each("stats", refs))

    async def schedules(self) -> tuple[ScheduleRef, ...]:
        refs = {codec.reference(key, uid) for key, uid in await self._link.scan("{ks:*}:meta", "uid", MAX_SCHEDULES)}
        return tuple(sorted(ref for ref in refs if ref is not None))

    async def error_groups(
        self, ref: ScheduleRef, most: int = 20, *, state: RowState | None = RowState.DEAD
    ) -> tuple[ErrorGroup, ...]:
        return await excluded.groups(self._link, ref, state, most)

    async def dead_letters(
        self,
        ref: ScheduleRef,
        *,
        error: str | None = None,
        keys: Sequence[Key] | None = None,
        most: int = 100,
        state: RowState | None = RowState.DEAD,
    ) -> tuple[DeadLetter, ...]:
        return tuple((await excluded.letters(self._link, ref, error, keys, state))[:most])

    async def replay(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        return await excluded.replay(self._link, ref, error, keys)

    async def purge(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        return await excluded.purge(self._link, ref, error, keys)

    async def forget(self, ref: ScheduleRef) -> None:
        await self._link.move("forget", ref)


def _taking(consumer: str, want: int, limits: Limits) -> dict[str, Any]:
    lease = {"lease": limits.lease, "longest": LONGEST_LEASE, "spare": limits.spare_expired}
    return {"consumer": consumer, "want": want, **lease, **_rate(limits)}


def _rate(limits: Limits) -> dict[str, Any]:
    return {"rate": limits.rows_per_second or None, "burst": limits.saved}


def _lost(reply: Sequence[Any] | None, claims: Sequence[Claim]) -> tuple[str, ...]:
    ids: Sequence[Any] = [claim.id for claim in claims] if reply is None else reply
    return tuple(codec.text(id_) for id_ in ids)


def _blocking_read(names: Sequence[bytes], seen: Sequence[Any] | None) -> tuple[dict[bytes, str], float]:
    """What a blocking read must watch, and for how many seconds: after that time alone may have brought something."""
    known, paused, cursor, signal, soonest, debt = seen or (0, 0, "0-0", "0-0", "", "")
    watch = {names[10]: codec.text(signal)}
    if paused:
        return watch, math.inf
    if debt:
        return watch, float(debt)
    watch[names[1]] = codec.text(cursor)
    return watch, float(soonest) if known and soonest else math.inf
