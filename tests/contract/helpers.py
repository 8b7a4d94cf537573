"""Short ways to bring a queue into a state, in terms of the protocol only."""

from __future__ import annotations

from kubesweep.queue.model import (
    Baseline,
    Claim,
    Database,
    DeadLetter,
    FailedRow,
    Job,
    JobKind,
    Key,
    Limits,
    PlanVersion,
    Retry,
    ScheduleRef,
    Settlement,
    Stats,
    Sweep,
    SweepRequest,
    Window,
)
from kubesweep.queue.service import Opened, QueueService, Settled

REF = ScheduleRef("local", "default", "expire-conversations", "8b5f6f0e-0000-4000-8000-000000000001")
OTHER = ScheduleRef("local", "default", "expire-sessions", "8b5f6f0e-0000-4000-8000-000000000002")
PLAN = PlanVersion(1, "aaaa")
NEWER = PlanVersion(2, "bbbb")
LIMITS = Limits()
MANY = Limits(halt_above=10_000)
TICK = 1_800_000_000.0
CUTOFF = "2027-01-15 08:00:00+00"


def key(number: int) -> Key:
    return (str(number),)


def failed(*numbers: int, error: str = "CheckViolation") -> tuple[FailedRow, ...]:
    return tuple(FailedRow(key(number), error, f"row {number} was refused") for number in numbers)


def retry(*numbers: int, attempt: int = 2, delay: float = 10.0, error: str = "CheckViolation") -> tuple[Retry, ...]:
    return (Retry(failed(*numbers, error=error), attempt, delay),)


def a_baseline(database: str = "7291/shop/16384", timeline: int | None = 1, **changes: str) -> Baseline:
    words = {"table": "aaaa", "match": "bbbb", "write": "update", "effect": "none"}
    return Baseline(**{**words, **changes}, database=Database(database, timeline), since=TICK)


def range_job(sweep: str, rows: int, start: int = 0, origin: str = "") -> Job:
    return Job(JobKind.RANGE, PLAN, sweep, CUTOFF, low=key(start), high=key(start + rows), rows=rows, origin=origin)


def plan_job(sweep: str, cursor: int = 100, planned: int = 0) -> Job:
    return Job(JobKind.PLAN, PLAN, sweep, CUTOFF, low=key(cursor), planned=planned)


async def open_sweep(
    queue: QueueService, tick: float | None = TICK, plan: PlanVersion = PLAN, ref: ScheduleRef = REF, **request: object
) -> Opened:
    return await queue.open_sweep(ref, SweepRequest(tick=tick, plan=plan, **request))  # type: ignore[arg-type]


async def take(
    queue: QueueService, want: int = 1, who: str = "ann", limits: Limits = LIMITS, ref: ScheduleRef = REF
) -> tuple[Claim, ...]:
    return (await queue.claim(ref, who, want, limits)).jobs


async def one(queue: QueueService, who: str = "ann", limits: Limits = LIMITS, *, ref: ScheduleRef = REF) -> Claim:
    (claim,) = await take(queue, 1, who, limits, ref=ref)
    return claim


async def settle(
    queue: QueueService, *settlements: Settlement, want: int = 0, who: str = "ann", limits: Limits = LIMITS
) -> Settled:
    return await queue.settle(REF, who, settlements, want, limits)


async def start(
    queue: QueueService,
    *rows: int,
    tick: float = TICK,
    plan: PlanVersion = PLAN,
    origin: str = "",
    ref: ScheduleRef = REF,
) -> str:
    """A sweep that is fully planned: one waiting range job for each number of ``rows``. Returns its id."""
    sweep = (await open_sweep(queue, tick, plan, ref=ref)).sweep
    claim = await one(queue, "planner", ref=ref)
    jobs = tuple(range_job(sweep, count, 1000 * at, origin) for at, count in enumerate(rows))
    assert await queue.advance(ref, claim, Window(CUTOFF, jobs, planned=sum(rows), origin=origin))
    return sweep


async def get_stats(queue: QueueService, ref: ScheduleRef = REF) -> Stats:
    (stats,) = await queue.stats([ref])
    return stats


async def latest(queue: QueueService) -> Sweep:
    sweep = (await get_stats(queue)).sweep
    assert sweep is not None
    return sweep


async def make_dead_letters(
    queue: QueueService, *numbers: int, error: str = "CheckViolation", tick: float = TICK, origin: str = ""
) -> str:
    """A completed sweep, one job, all of whose rows died. Returns the sweep's id."""
    sweep = await start(queue, len(numbers), tick=tick, origin=origin)
    claim = await one(queue)
    settled = await settle(queue, Settlement(claim, dead=failed(*numbers, error=error)), limits=MANY)
    assert settled.finished == (sweep,)
    return sweep


async def dead_keys(queue: QueueService, **which: object) -> list[Key]:
    dead_letters: tuple[DeadLetter, ...] = await queue.dead_letters(REF, **which)  # type: ignore[arg-type]
    return sorted(letter.key for letter in dead_letters)
