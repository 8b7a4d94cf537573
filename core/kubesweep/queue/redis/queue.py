"""RedisQueue: the queue that a cluster uses, on Redis 7.0 or newer, or on Valkey.

Every operation is one Lua script (lua/<operation>.lua), so it happens as a whole or not at all, whichever process dies. This
file encodes the arguments (arguments.py), client.py runs the script, and replies.py decodes the reply. All times are the server's, so the clocks
of the workers' hosts do not matter.

An operation whose reply was lost may have happened. Repeating it does no harm: a settlement finds its claim gone and counts
nothing, a tick is a duplicate, and jobs of a lost claim are claimed again when their lease ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from kubesweep.queue.model import (
    AHEAD,
    ATTEMPTS,
    BEHIND,
    END_STATES,
    FLOOD,
    HISTORY,
    LONGEST_PAUSES,
    MAX_FINDINGS,
    MAX_PAUSES,
    MAX_SAMPLES,
    RETRY_PAUSE,
    TURN,
    Baseline,
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
    Pace,
    PlanVersion,
    RowState,
    Sample,
    ScheduleRef,
    Settlement,
    SharedSample,
    StaleRows,
    Stats,
    SweepRequest,
    SweepState,
    Window,
    key_text,
    parse_pace,
    parse_sample,
    to_json,
)
from kubesweep.queue.redis import arguments, claiming, excluded, replies
from kubesweep.queue.redis.client import RedisClient
from kubesweep.queue.service import Opened, Settled

KEEP = 7 * 86400.0  # seconds that the keys of a schedule are kept after its last tick, at least
MAX_SCHEDULES = 50_000  # that ``schedules`` returns


class RedisQueue:
    """A :class:`~kubesweep.queue.service.QueueService` on the server that ``url`` names. Connects at the first operation.

    ``clock`` (seconds since the epoch) replaces the server's clock, for tests. Every ``Outage`` names the server, the problem
    and the next step; errors.py lists the reasons. Raises ``SpecError`` (code ``QueueUrl``) for any other URL.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None) -> None:
        self._client = RedisClient(url, clock)

    async def close(self) -> None:
        """Close the connections. Claims stay with their consumer until their leases end; closing twice is harmless."""
        await self._client.close()

    async def open_sweep(self, ref: ScheduleRef, request: SweepRequest) -> Opened:
        id_ = request.sweep_id(ref)
        answer, sweep, ahead = await self._client.run_script(
            "open_sweep",
            ref,
            id=id_,
            uid=ref.uid,
            tick=request.tick,
            ahead=AHEAD,
            behind=None if request.dedup_key is None else BEHIND,
            deadline=request.deadline,
            generation=request.plan.generation,
            hash=request.plan.hash,
            mode=request.mode,
            retention=request.retention,
            ttl=int(max(request.retention, KEEP) * 1000),
            remember=HISTORY + 1,
            body=arguments.body(Job(JobKind.PLAN, request.plan, id_)),
        )
        return Opened(OpenResult(replies.text(answer)), replies.text(sweep), float(ahead))

    async def claim(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits) -> Claims:
        reply = await self._client.run_script("claim", ref, **claiming.claim_arguments(consumer, want, limits))
        return self._client.decode_reply(lambda found: replies.claims(found, consumer), reply)

    async def extend(self, ref: ScheduleRef, claims: Sequence[Claim], lease: float) -> tuple[str, ...]:
        lost = await self._client.run_script(
            "extend", ref, claims=[arguments.fence(claim) for claim in claims], lease=lease
        )
        return claiming.lost_ids(lost, claims)

    async def settle(
        self, ref: ScheduleRef, consumer: str, settlements: Sequence[Settlement], want: int, limits: Limits
    ) -> Settled:
        reply = await self._client.run_script(
            "settle",
            ref,
            settlements=[arguments.settlement(s) for s in settlements],
            halt_above=limits.halt_above,
            halt_at_end=limits.halt_at_end,
            attempts=ATTEMPTS,
            flood=FLOOD,
            **claiming.claim_arguments(consumer, want, limits),
        )
        if reply is None:
            return Settled(lost=tuple(s.claim.id for s in settlements), claims=Claims(lost=True))
        return self._client.decode_reply(lambda found: replies.settled(found, consumer), reply)

    async def advance(self, ref: ScheduleRef, claim: Claim, window: Window) -> bool:
        jobs = window.entries
        done = await self._client.run_script(
            "advance",
            ref,
            claim=arguments.fence(claim),
            sweep=claim.job.sweep,
            jobs=[(job.rows, arguments.body(job)) for job in jobs],
            cutoff=window.cutoff,
            origin=window.origin,
            planned=window.planned,
            capped=window.capped,
            stopped=window.stopped,
            samples=[key_text(key) for key in window.samples],
            most=MAX_SAMPLES,
            last=window.next is None,
            baseline=None if window.baseline is None else to_json(window.baseline).decode(),
        )
        return bool(done)

    async def end_sweep(self, ref: ScheduleRef, claim: Claim, state: SweepState, reason: str, message: str) -> bool:
        if state not in END_STATES:
            raise ValueError(f"end_sweep takes one of {', '.join(sorted(END_STATES))}, not {state}")
        done = await self._client.run_script(
            "end_sweep",
            ref,
            claim=arguments.fence(claim),
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
        return await claiming.release(self._client, ref, claims)

    async def reserve(self, ref: ScheduleRef, rows: int, limits: Limits) -> Budget:
        left, now = await self._client.run_script(
            "reserve", ref, rows=rows, debt=limits.debt, **claiming.rate_arguments(limits)
        )
        return replies.budget(left, now) or Budget()

    async def wait(self, ref: ScheduleRef, timeout: float) -> None:
        await claiming.wait(self._client, ref, timeout)

    async def claim_next(self, ref: ScheduleRef, consumer: str, want: int, limits: Limits, timeout: float) -> Claims:
        return await claiming.claim_next(self._client, ref, consumer, want, limits, timeout)

    async def enqueue_check(self, ref: ScheduleRef, plan: PlanVersion) -> bool:
        done = await self._client.run_script(
            "enqueue_check",
            ref,
            uid=ref.uid,
            hash=plan.hash,
            body=arguments.body(Job(JobKind.CHECK, plan)),
        )
        return bool(done)

    async def approve(self, ref: ScheduleRef, sweep: str | None = None) -> str | None:
        return replies.text(await self._client.run_script("approve", ref, sweep=sweep) or "") or None

    async def approved(self, ref: ScheduleRef) -> str | None:
        return replies.text(await self._client.run_script("approved", ref) or "") or None

    async def pause(self, ref: ScheduleRef, paused: bool) -> None:
        await self._client.run_script("pause", ref, paused=int(paused), most=MAX_PAUSES, longest=LONGEST_PAUSES)

    async def set_pace(self, ref: ScheduleRef, pace: Pace) -> None:
        await self._client.run_script("set_pace", ref, pace=to_json(pace).decode())

    async def restore_baseline(self, ref: ScheduleRef, baseline: Baseline) -> None:
        await self._client.run_script("restore_baseline", ref, baseline=to_json(baseline).decode())

    async def pace(self, ref: ScheduleRef) -> Pace | None:
        return parse_pace(await self._client.run_script("pace", ref))

    async def share_sample(
        self, ref: ScheduleRef, database: str, consumer: str, sample: Sample | None = None
    ) -> SharedSample:
        body = None if sample is None else to_json(sample).decode()
        stored, age, measure = await self._client.run_script(
            "share_sample", ref.database(database), consumer=consumer, sample=body, turn=TURN
        )
        return SharedSample(parse_sample(stored), float(age), bool(measure))

    async def report(self, ref: ScheduleRef, finding: Finding) -> None:
        body = msgspec.json.encode(finding).decode()
        await self._client.run_script(
            "report", ref, kind=finding.kind, at=finding.at or None, body=body, most=MAX_FINDINGS
        )

    async def record_stale(self, ref: ScheduleRef, sweep: str, found: StaleRows) -> None:
        await self._client.run_script(
            "record_stale",
            ref,
            sweep=sweep,
            rows=found.rows,
            estimated=found.estimated,
            oldest=found.oldest,
            unknown=found.unknown,
            newest=found.newest,
            samples=[key_text(key) for key in found.samples[:MAX_SAMPLES]],
        )

    async def excluded(self, ref: ScheduleRef, origin: str = "") -> ExcludedRows:
        reply = await self._client.run_script("excluded", ref)
        return self._client.decode_reply(lambda found: replies.excluded(found[0], found[1], origin), reply)

    async def stats(self, refs: Sequence[ScheduleRef]) -> tuple[Stats, ...]:
        return tuple(
            self._client.decode_reply(replies.stats, reply) for reply in await self._client.run_for_each("stats", refs)
        )

    async def schedules(self) -> tuple[ScheduleRef, ...]:
        refs = {
            replies.reference(key, uid) for key, uid in await self._client.scan("{ks:*}:meta", "uid", MAX_SCHEDULES)
        }
        return tuple(sorted(ref for ref in refs if ref is not None))

    async def error_groups(
        self, ref: ScheduleRef, most: int = 20, *, state: RowState | None = RowState.DEAD
    ) -> tuple[ErrorGroup, ...]:
        return await excluded.groups(self._client, ref, state, most)

    async def dead_letters(
        self,
        ref: ScheduleRef,
        *,
        error: str | None = None,
        keys: Sequence[Key] | None = None,
        most: int = 100,
        state: RowState | None = RowState.DEAD,
    ) -> tuple[DeadLetter, ...]:
        return tuple((await excluded.dead_letters(self._client, ref, error, keys, state))[:most])

    async def replay(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        return await excluded.replay(self._client, ref, error, keys)

    async def purge(self, ref: ScheduleRef, *, error: str | None = None, keys: Sequence[Key] | None = None) -> int:
        return await excluded.purge(self._client, ref, error, keys)

    async def forget(self, ref: ScheduleRef) -> None:
        await self._client.run_script("forget", ref)
