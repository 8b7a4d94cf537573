"""What an approval covers besides the sweep: no dead letter is retried by conditions, or in a database, that nobody approved."""

from __future__ import annotations

from kubesweep.api.plan import Match, RetryPolicy
from kubesweep.queue.model import SweepState
from tests.kits.worker import ScriptedEffect, Workbench, key, with_effect
from tests.unit.worker.test_approval import ELSEWHERE, again, approved, guarded, swept

ONCE = RetryPolicy(max_attempts=1)
OTHER = (Match("in", "status", ("other",)),)


async def test_no_dead_letter_is_retried_in_another_database_before_the_approval(bench: Workbench) -> None:
    bench.plan = guarded(retry=ONCE)
    bench.source.poison = {key(7)}
    assert (await swept(bench)).dead == 1
    again(bench)
    bench.source.poison = set()
    bench.source.identity, bench.source.writes = ELSEWHERE, []
    sweep = await swept(bench)
    assert sweep.state is SweepState.AWAITING_APPROVAL
    assert await bench.queue.replay(bench.plan.ref) == 1
    await bench.run(retries=True)  # and it ends, although a retry is left
    assert bench.source.writes == []
    assert (await approved(bench, sweep)).state is SweepState.COMPLETED
    assert (key(7),) in bench.source.writes


async def test_a_dead_letter_is_reason_enough_to_await_approval_after_an_edit(bench: Workbench) -> None:
    """Otherwise its retry would be written by what nobody approved, while no stale row makes a sweep await that."""
    bench.plan = guarded(retry=ONCE)
    bench.source.poison = {key(7)}
    assert (await swept(bench)).dead == 1
    bench.source.poison, bench.source.writes = set(), []
    bench.plan = guarded(retry=ONCE, match=OTHER, generation=1)
    sweep = await swept(bench)
    assert (sweep.state, sweep.message) == (
        SweepState.AWAITING_APPROVAL,
        "match differs from the last sweep's; 0 rows are stale, and 1 row is in retry or dead. Nothing was changed",
    )
    assert await bench.queue.replay(bench.plan.ref) == 1
    await bench.run(retries=True)
    assert bench.source.writes == []
    assert await bench.queue.approve(bench.plan.ref, sweep.id) == sweep.id
    assert (await bench.run(retries=True)).excluded == 0
    assert bench.source.writes == [(key(7),)]


async def test_a_changed_sweep_awaits_approval_before_it_halts_for_too_many_failed_rows(bench: Workbench) -> None:
    """It says that the failed rows can be retried, and the retries would be written by what nobody approved."""
    bench.plan, bench.effect = with_effect(guarded(retry=ONCE, halt_above=2)), ScriptedEffect()
    bench.source.poison = {key(7), key(8)}
    await swept(bench)
    assert (await swept(bench)).reason == "TooManyFailedRows"
    bench.source.poison, bench.source.writes = set(), []
    bench.plan = with_effect(guarded(retry=ONCE, halt_above=2, match=OTHER, generation=1))
    sweep = await swept(bench)
    assert (sweep.state, sweep.reason) == (SweepState.AWAITING_APPROVAL, "PredicateChanged")
    assert await bench.queue.replay(bench.plan.ref) == 2
    await bench.run(retries=True)
    assert bench.source.writes == []
    assert (await approved(bench, sweep)).reason == "TooManyFailedRows"
    assert (await bench.run(retries=True)).excluded == 0


async def test_blocked_retries_have_a_sweep_that_can_be_approved_after_each_edit(bench: Workbench) -> None:
    bench.plan = guarded(retry=ONCE)
    bench.source.poison = {key(7)}
    await swept(bench)
    again(bench)
    bench.plan = guarded(retry=ONCE, match=OTHER, generation=1)
    assert (await swept(bench)).state is SweepState.AWAITING_APPROVAL
    await bench.queue.replay(bench.plan.ref)
    bench.source.stale_keys, bench.source.poison = {key(7)}, set()
    bench.plan = guarded(retry=ONCE, match=(Match("in", "status", ("third",)),), generation=2)
    sweep = await swept(bench)
    assert sweep.state is SweepState.AWAITING_APPROVAL
    assert await bench.queue.approve(bench.plan.ref, sweep.id) == sweep.id
    assert (await bench.run(retries=True)).excluded == 0
