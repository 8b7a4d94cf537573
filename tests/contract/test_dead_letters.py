from __future__ import annotations

from kubesweep.queue.model import (
    MAX_FINDINGS,
    MAX_JOB_KEYS,
    ExcludedRows,
    FailedRow,
    Finding,
    Job,
    JobKind,
    Retry,
    ScheduleRef,
    Settlement,
    Stats,
)
from kubesweep.queue.service import QueueService
from tests.contract.backends import Clock, Open
from tests.contract.helpers import (
    LIMITS,
    MANY,
    OTHER,
    PLAN,
    REF,
    TICK,
    dead_keys,
    failed,
    get_stats,
    key,
    make_dead_letters,
    one,
    open_sweep,
    settle,
    start,
    take,
)


async def test_dead_letters_are_grouped_by_error_most_first(queue: QueueService, clock: Clock) -> None:
    first = clock.now
    await make_dead_letters(queue, 1, error="Rare")
    await make_dead_letters(queue, 2, 3, error="Often", tick=TICK + 60)
    clock.advance(5)
    await make_dead_letters(queue, 4, 5, 6, error="Often", tick=TICK + 120)
    often, rare = await queue.error_groups(REF)
    assert (often.error, often.count, often.first, often.last) == ("Often", 5, first, clock.now)
    assert often.message in {f"row {number} was refused" for number in (4, 5, 6)}
    assert len(often.samples) == 3
    assert set(often.samples) <= {key(number) for number in range(2, 7)}
    assert (rare.error, rare.count, rare.samples) == ("Rare", 1, (key(1),))
    assert await queue.error_groups(REF, most=1) == (often,)


async def test_dead_letters_are_listed_newest_first_and_chosen_by_error_and_key(
    queue: QueueService, clock: Clock
) -> None:
    await make_dead_letters(queue, 1, 2, error="One")
    clock.advance(5)
    await make_dead_letters(queue, 3, error="Two", tick=TICK + 60)
    assert (await queue.dead_letters(REF))[0].key == key(3)
    assert len(await queue.dead_letters(REF, most=2)) == 2
    assert await dead_keys(queue) == [key(1), key(2), key(3)]
    assert await dead_keys(queue, error="One") == [key(1), key(2)]
    assert await dead_keys(queue, keys=[key(2), key(3), key(9)]) == [key(2), key(3)]
    assert await dead_keys(queue, error="One", keys=[key(2), key(3)]) == [key(2)]
    assert await dead_keys(queue, error="Three") == []
    assert await dead_keys(queue, keys=[]) == []


async def test_a_replay_tries_rows_again_at_once_with_fresh_attempts(queue: QueueService, clock: Clock) -> None:
    sweep = await make_dead_letters(queue, 1, 2, 3)
    version = (await queue.excluded(REF))[0]
    assert await queue.replay(REF, keys=[key(1), key(3)]) == 2
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.excluded, stats.dead, stats.ready) == (3, 1, 1)
    assert (stats.sweep.retrying, stats.sweep.dead, stats.sweep.balanced) == (2, 1, True)
    assert stats.sweep.open_jobs == 0
    assert await queue.excluded(REF) == ExcludedRows(version, frozenset({key(1), key(2), key(3)}))
    claim = await one(queue)
    assert claim.job == Job(JobKind.KEYS, None, sweep, keys=(key(1), key(3)), rows=2, is_retry=True)
    assert await dead_keys(queue) == [key(2)]
    await settle(queue, Settlement(claim, applied=2))
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.retrying, stats.sweep.dead, stats.sweep.balanced) == (2, 0, 1, True)
    assert (await queue.excluded(REF))[1] == {key(2)}


async def test_a_row_that_dies_again_after_a_replay_has_its_whole_history(queue: QueueService, clock: Clock) -> None:
    await make_dead_letters(queue, 1, error="Before")
    assert await queue.replay(REF, error="Before") == 1
    assert await queue.replay(REF) == 0
    clock.advance(60)
    await settle(queue, Settlement(await one(queue), dead=failed(1, error="After")))
    (letter,) = await queue.dead_letters(REF)
    assert ([attempt.error for attempt in letter.attempts], letter.error) == (["Before", "After"], "After")
    stats = await get_stats(queue)
    assert (stats.excluded, stats.dead) == (1, 1)


async def test_a_replay_of_many_rows_makes_bounded_jobs_of_one_sweep_each(queue: QueueService) -> None:
    count = MAX_JOB_KEYS + 2
    first = await start(queue, count)
    half = count // 2
    claim = await one(queue)
    await settle(queue, Settlement(claim, applied=1, dead=failed(*range(half)), rest=claim.job), limits=MANY)
    await settle(queue, Settlement(claim, dead=failed(*range(half, count))), limits=MANY)
    second = await make_dead_letters(queue, count + 1, tick=TICK + 60)
    assert await queue.replay(REF) == count + 1
    jobs = [claim.job for claim in await take(queue, 10)]
    assert sorted((job.sweep == first, job.sweep == second, job.rows, len(job.keys)) for job in jobs) == [
        (False, True, 1, 1),
        (True, False, 2, 2),
        (True, False, MAX_JOB_KEYS, MAX_JOB_KEYS),
    ]
    assert {key for job in jobs for key in job.keys} == (await queue.excluded(REF))[1]


async def test_purged_rows_are_eligible_again_and_history_keeps_its_numbers(queue: QueueService) -> None:
    await make_dead_letters(queue, 1, 2, error="One")
    await make_dead_letters(queue, 3, error="Two", tick=TICK + 60)
    version = (await queue.excluded(REF))[0]
    assert await queue.purge(REF, error="One", keys=[key(2), key(3)]) == 1
    excluded = await queue.excluded(REF)
    assert excluded.keys == {key(1), key(3)}
    assert excluded.version != version
    assert await queue.purge(REF) == 2
    assert await queue.purge(REF) == 0
    stats = await get_stats(queue)
    assert stats.sweep is not None
    assert (stats.excluded, stats.dead, stats.sweep.dead, stats.history[0].dead) == (0, 0, 1, 2)


async def test_a_tick_forgets_dead_letters_older_than_the_retention(queue: QueueService, clock: Clock) -> None:
    await make_dead_letters(queue, 1)
    clock.advance(3600)
    await make_dead_letters(queue, 2, tick=TICK + 60)
    clock.advance(10)
    before = await queue.excluded(REF)
    await open_sweep(queue, TICK + 120, retention=3600)
    assert await dead_keys(queue) == [key(2)]
    after = await queue.excluded(REF)
    assert (after.keys, after.version != before.version) == ({key(2)}, True)


async def test_the_latest_finding_of_each_kind_is_kept(queue: QueueService, clock: Clock) -> None:
    finding = Finding("SourceReady", False, "TableMissing", "no table", PLAN, at=clock.now)
    await queue.report(REF, finding)
    assert not (await get_stats(queue)).known
    await open_sweep(queue)
    await queue.report(REF, finding)
    better = Finding("SourceReady", True, "Ready", "checked", PLAN, at=clock.now + 1)
    other = Finding("Effect", True, "Ready", "imported", PLAN, at=clock.now)
    await queue.report(REF, better)
    await queue.report(REF, other)
    assert sorted((await get_stats(queue)).findings, key=lambda each: each.kind) == [other, better]


async def test_a_finding_without_a_time_is_dated_by_the_queue(queue: QueueService, clock: Clock) -> None:
    await open_sweep(queue)
    await queue.report(REF, Finding("Effect", True, "Ready", "", PLAN))
    (found,) = (await get_stats(queue)).findings
    assert found.at == clock.now


async def test_kinds_of_findings_are_bounded_and_the_oldest_goes(queue: QueueService, clock: Clock) -> None:
    await open_sweep(queue)
    for number in range(MAX_FINDINGS + 2):
        clock.advance(1)
        await queue.report(REF, Finding(f"Kind{number}", True, "Ready", "", PLAN, at=clock.now))
    kinds = {found.kind for found in (await get_stats(queue)).findings}
    assert kinds == {f"Kind{number}" for number in range(2, MAX_FINDINGS + 2)}


async def test_statistics_of_many_schedules_come_in_order_and_do_not_mix(make_queue: Open) -> None:
    ann, bob = make_queue(), make_queue()
    await make_dead_letters(ann, 1, 2)
    await open_sweep(bob, ref=OTHER)
    nobody = ScheduleRef.local("default", "nobody")
    other, unknown, here = await bob.stats([OTHER, nobody, REF])
    assert (here.dead, here.ready, other.dead, other.ready, other.known) == (2, 0, 0, 1, True)
    assert unknown == Stats()
    assert await ann.stats([]) == ()


async def test_schedules_are_listed_and_one_is_forgotten_without_the_other(queue: QueueService, clock: Clock) -> None:
    await make_dead_letters(queue, 1)
    await queue.enqueue_check(REF, PLAN)
    await queue.report(REF, Finding("Effect", True, "Ready", "", PLAN, at=clock.now))
    await open_sweep(queue, ref=OTHER)
    assert await queue.schedules() == tuple(sorted([REF, OTHER]))
    await queue.forget(REF)
    assert await queue.schedules() == (OTHER,)
    assert await queue.stats([REF]) == (Stats(),)
    assert (await get_stats(queue, OTHER)).ready == 1
    assert (await queue.claim(REF, "ann", 1, LIMITS)).lost
    assert await queue.enqueue_check(REF, PLAN)
    stats = await get_stats(queue)
    assert (stats.ready, stats.excluded, stats.sweep, stats.findings, stats.last_tick) == (1, 0, None, (), None)


async def test_a_schedule_of_the_same_name_created_again_is_another_one(queue: QueueService) -> None:
    await open_sweep(queue)
    again = ScheduleRef(REF.install, REF.namespace, REF.name, "00000000-1111-4000-8000-000000000000")
    assert not (await get_stats(queue, again)).known
    assert (await queue.claim(again, "ann", 1, LIMITS)).lost


async def test_a_store_that_is_closed_and_opened_again_has_everything(make_queue: Open) -> None:
    first = make_queue()
    await make_dead_letters(first, 1)
    await start(first, 5, tick=TICK + 60)
    claim = await one(first)
    before = await get_stats(first)
    await first.close()
    await first.close()
    second = make_queue()
    assert await get_stats(second) == before
    assert (await settle(second, Settlement(claim, applied=5))).lost == ()


async def test_a_row_carries_the_key_of_its_successful_effect_through_retries_death_and_replay(
    queue: QueueService, clock: Clock
) -> None:
    sweep = await start(queue, 3)
    (claim,) = await take(queue, 1)
    claimed = FailedRow(key(1), "CheckViolation", "refused", effect_key='stamp "1"')
    rows = (claimed, *failed(2))
    await settle(queue, Settlement(claim=claim, skipped=1, retry=(Retry(rows, 2, 10.0),)))
    clock.advance(11)
    (again,) = await take(queue, 1)
    assert (again.job.keys, again.job.effects_done) == ((key(1), key(2)), ((key(1), 'stamp "1"'),))
    await settle(queue, Settlement(claim=again, dead=rows))
    assert [
        letter.attempts[-1].effect_key for letter in sorted(await queue.dead_letters(REF), key=lambda one: one.key)
    ] == [
        'stamp "1"',
        "",
    ]
    assert await queue.replay(REF) == 2
    (replayed,) = await take(queue, 1)
    assert (replayed.job.sweep, replayed.job.effects_done) == (sweep, ((key(1), 'stamp "1"'),))
