"""What a person may do in the console on this machine. Each action says before what it will do, and to how many rows."""

from __future__ import annotations

import time
from collections.abc import Callable

from kubesweep import scheduling
from kubesweep.errors import SpecError
from kubesweep.proposal import proposal_of
from kubesweep.quantities import rows
from kubesweep.queue.model import PAUSE, OpenResult, RowState, ScheduleRef, Stats, SweepState, describe_rate
from kubesweep.queue.service import QueueService
from kubesweep.timestamps import time_text
from kubesweep_cli.dashboard.provider import QueueProvider
from kubesweep_cli.shell.suspending import set_suspended, suspended
from kubesweep_cli.shell.throttling import RESET, refuse_served, set_throttle
from kubesweep_console.documents import Schedule
from kubesweep_console.provider import Action, ActionKind, ActionRefused, Preview

__all__ = ["QueueActions"]

_GROUPS = 1000


class QueueActions:
    def __init__(self, queue: QueueService, provider: QueueProvider, now: Callable[[], float] = time.time) -> None:
        self._queue, self._provider, self._now = queue, provider, now

    async def preview(self, action: Action) -> Preview:
        ref = self._provider.ref(action.document)
        (stats,) = await self._queue.stats([ref])
        match action.kind:
            case ActionKind.TRIGGER:
                return self._before_trigger(ref, stats, action)
            case ActionKind.APPROVE:
                return self._before_approve(ref, stats, action)
            case ActionKind.PAUSE:
                _refuse_served(ref, PAUSE)
                return _before_pause(stats)
            case ActionKind.RESUME:
                _refuse_served(ref, RESET)
                self._refuse_suspended(ref)
                rate = stats.pace.rows_per_second if stats.pace is not None else None
                return Preview(
                    f"Workers start rows again. The rate is {describe_rate(rate)}.{_open_rows(stats, 'continue')}"
                )
            case ActionKind.RETRY | ActionKind.PURGE:
                return await self._before_change(ref, stats, action)

    def _before_trigger(self, ref: ScheduleRef, stats: Stats, action: Action) -> Preview:
        loaded = self._provider.loaded.get(ref)
        _refuse_while_suspended(stats)
        if stats.sweep is None and loaded is None:
            raise ActionRefused(
                f"{ref.name} was never swept, so the queue does not have its plan. Name its file with -f."
            )
        if stats.sweep is not None and not stats.sweep.state.settled:
            raise ActionRefused(f"Its sweep {stats.sweep.id} is not finished yet.")
        left = Schedule(action.document).backlog.rows or None  # none are left after a sweep that completed
        about = "" if left is None else f", about {rows(left)} as the last sweep left them"
        mode = loaded.plan.mode if loaded is not None else stats.sweep.mode if stats.sweep is not None else ""
        effect = " It is a dry run, which changes nothing." if mode == "DryRun" else ""
        waits = self._why_it_waits(ref, stats)
        return Preview(f"A sweep starts now. It sweeps every row that is stale then{about}.{effect}{waits}", left)

    def _why_it_waits(self, ref: ScheduleRef, stats: Stats) -> str:
        if self._provider.suspended(ref):
            return " But its file suspends it, so a `run` leaves the sweep alone; only a `worker` works on it."
        word = "suspended" if suspended(stats) else "paused"
        return f" But it is {word}: no row is started until it is resumed." if stats.paused else ""

    def _before_approve(self, ref: ScheduleRef, stats: Stats, action: Action) -> Preview:
        sweep = stats.sweep
        if sweep is None or sweep.state is not SweepState.AWAITING_APPROVAL or sweep.id != action.sweep:
            raise ActionRefused("No sweep awaits approval any more.")
        found = (proposal_of(sweep) or {}).get("rows")
        many = "all rows that are stale" if found is None else rows(found)
        waits = self._why_it_waits(ref, stats)
        return Preview(
            f"The sweep of {time_text(sweep.tick)} continues with the same cutoff, and sweeps {many}.{waits}"
        )

    def _refuse_suspended(self, ref: ScheduleRef) -> None:
        if self._provider.suspended(ref):
            raise ActionRefused(
                f"Its file suspends it: set spec.suspend to false in {self._provider.loaded[ref].origin}."
            )

    async def _before_change(self, ref: ScheduleRef, stats: Stats, action: Action) -> Preview:
        dead = await self._count(ref, stats, action, RowState.DEAD)
        waiting = await self._count(ref, stats, action, RowState.RETRYING)
        which = f" with the error {action.error}" if action.error else ""
        also = f" and {rows(waiting)} in retry" if waiting else ""
        verb = "is" if dead + waiting == 1 else "are"
        if action.kind is ActionKind.RETRY:
            what = f"{verb} due at once, with fresh attempts and the same idempotency keys"
        else:
            what = f"{verb} removed from the queue. The next sweep finds those that are still stale, and repeats their effect"
        return Preview(f"{dead:,} dead letter{'s' * (dead != 1)}{also}{which} {what}.", dead + waiting)

    async def _count(self, ref: ScheduleRef, stats: Stats, action: Action, state: RowState) -> int:
        """Rows that the action is about. A replay leaves rows of another table alone."""
        groups = await self._queue.error_groups(ref, most=_GROUPS, state=state)
        any_table = action.kind is ActionKind.PURGE
        return sum(
            each.count
            for each in groups
            if action.error in ("", each.error) and (any_table or each.origin in ("", stats.origin))
        )

    async def act(self, action: Action, nonce: str) -> str:
        ref = self._provider.ref(action.document)
        error = action.error or None
        match action.kind:
            case ActionKind.TRIGGER:
                return await self._trigger(ref, nonce)
            case ActionKind.APPROVE:
                if await self._queue.approve(ref, action.sweep) is None:
                    raise ActionRefused("No sweep awaits approval any more.")
                return "The sweep continues, with the same cutoff."
            case ActionKind.PAUSE:
                return await self._throttle(ref, PAUSE)
            case ActionKind.RESUME:
                self._refuse_suspended(ref)
                return await self._resume(ref)
            case ActionKind.RETRY:
                number = await self._queue.replay(ref, error=error)
                return f"{rows(number)} will be tried again by the next worker that is free."
            case ActionKind.PURGE:
                number = await self._queue.purge(ref, error=error)
                return f"{rows(number)} purged from the queue. The next sweep finds those that are still stale."

    async def _trigger(self, ref: ScheduleRef, nonce: str) -> str:
        (stats,) = await self._queue.stats([ref])
        _refuse_while_suspended(stats)
        loaded = self._provider.loaded.get(ref)
        if loaded is not None:
            request = scheduling.trigger_request(loaded.plan, nonce, self._now())
        elif stats.sweep is not None:
            request = scheduling.repeat_request(stats.sweep, nonce, self._now())
        else:
            raise ActionRefused(
                f"{ref.name} was never swept, so the queue does not have its plan. Name its file with -f."
            )
        opened = await self._queue.open_sweep(ref, request)
        if opened.answer is OpenResult.FORBIDDEN:
            raise ActionRefused(f"Its sweep {opened.sweep} is not finished yet.")
        return f"Sweep {opened.sweep} is enqueued. A running `kubesweep run` or `worker` works on it."

    async def _resume(self, ref: ScheduleRef) -> str:
        """End what keeps its rows from starting: a suspension in the queue, else a throttle."""
        (stats,) = await self._queue.stats([ref])
        if not suspended(stats):
            return await self._throttle(ref, RESET)
        await set_suspended(self._queue, ref, False)
        return "It is resumed: the next tick starts a sweep, and a running sweep continues."

    async def _throttle(self, ref: ScheduleRef, rate: str) -> str:
        _refuse_served(ref, rate)
        pace = await set_throttle(self._queue, ref, rate)
        return f"The rate is {describe_rate(pace.rate)}."


def _refuse_while_suspended(stats: Stats) -> None:
    if suspended(stats):
        raise ActionRefused("It is suspended: resume it first.")


def _refuse_served(ref: ScheduleRef, rate: str) -> None:
    try:
        refuse_served(ref, rate)
    except SpecError as error:
        raise ActionRefused(str(error)) from None


def _open_rows(stats: Stats, verb: str) -> str:
    """A sentence; empty where no sweep runs. A sweep that still plans may have no row yet, so this is no number of rows to act on."""
    sweep = stats.sweep
    if sweep is None or sweep.state.settled:
        return ""
    return f" {rows(max(0, sweep.planned - sweep.settled_rows))} of the running sweep {verb}."


def _before_pause(stats: Stats) -> Preview:
    waits = _open_rows(stats, "wait until you resume it")
    return Preview(f"Workers finish the rows in progress and start no further one. Ticks still open sweeps.{waits}")
