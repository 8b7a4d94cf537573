"""The queue half of a reconcile: read a schedule's state, pause and resume it, execute commands, open sweeps, request checks."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field, replace

from kubesweep.errors import Damaged, Outage
from kubesweep.queue.model import ErrorGroup, ScheduleRef, Stats
from kubesweep_controller.children.names import ScheduleKey
from kubesweep_controller.queue.guarded_queue import GuardedQueue
from kubesweep_controller.reconcile.execute_commands import execute
from kubesweep_controller.reconcile.recovery import needs_check
from kubesweep_controller.reconcile.sweep_requests import due_requests
from kubesweep_controller.status.baseline import lost_baseline
from kubesweep_controller.status.commands import Command, CommandResult, pending_commands
from kubesweep_controller.status.observation import Observation, paused, suspended

__all__ = ["QueueReconciler"]

log = logging.getLogger("kubesweep.controller")


@dataclass
class QueueReconciler:
    """``install`` is part of all keys in the queue. ``namespaces``: those that are served; empty: all."""

    install: str
    queue: GuardedQueue
    namespaces: tuple[str, ...] = ()
    clock: Callable[[], float] = time.time
    _groups: dict[ScheduleKey, tuple[Stats, tuple[ErrorGroup, ...]]] = field(default_factory=dict)
    _results: dict[ScheduleRef, dict[Command, CommandResult]] = field(default_factory=dict)

    async def observe(self, observation: Observation, *, control: bool = False) -> Observation:
        """The observation with the queue's answer. ``control``: first set the pace, and pause a schedule that must hand out no jobs."""
        ref = observation.ref
        try:
            stats = await self.queue.stats(ref)
            if control and await self._control(observation, stats):
                stats = await self.queue.stats(ref)
            groups = await self._error_groups(ref, stats)
        except Damaged as damaged:
            await self._reset(ref, damaged)
            return replace(observation, stats=None, outage=damaged, outage_seconds=math.inf)
        except Outage as outage:
            return self._failed(observation, outage)
        return replace(observation, now=self.clock(), stats=stats, outage=None, groups=groups)

    async def act(self, observation: Observation) -> tuple[Observation, list[CommandResult]]:
        """Change the queue: resume, commands, due sweeps, checks. Returns the observation as it is afterwards."""
        if observation.stats is None:
            return observation, []
        results: list[CommandResult] = []
        try:
            acted = await self._resume(observation)
            async for result in self._commands(observation):
                results.append(result)
            for request in due_requests(observation):
                opened = await self.queue.open_sweep(observation.ref, request)
                if opened.warning:
                    log.warning("%s/%s: %s", observation.ref.namespace, observation.ref.name, opened.warning)
                acted = True
            acted |= await self._check(observation)
        except Outage as outage:
            return self._failed(observation, outage), results
        return (await self.observe(observation, control=True) if acted or results else observation), results

    async def _commands(self, observation: Observation) -> AsyncIterator[CommandResult]:
        """The results of the pending commands. A command is pending again if the API server did not take the status that has its
        result. It is not executed again then, so that its answer says what it did."""
        pending, known = pending_commands(observation), self._results.pop(observation.ref, {})
        kept = {each: known[each] for each in pending if each in known}
        if pending:
            self._results[observation.ref] = kept
        for command in pending:
            if command not in kept:
                kept[command] = await execute(self.queue, observation, command)
            yield kept[command]

    def forget(self, key: ScheduleKey) -> None:
        self._groups.pop(key, None)
        for ref in [each for each in self._results if (each.namespace, each.name) == key]:
            del self._results[ref]

    async def collect_garbage(self, served: Collection[tuple[str, str, str]]) -> None:
        """Delete the keys of schedules that no longer exist. ``served``: namespace, name and uid of those that do.

        The keys of a queue that may not be searched (least privileges) expire a week after their last tick.
        """
        for ref in await self.queue.schedules():
            ours = ref.install == self.install and (not self.namespaces or ref.namespace in self.namespaces)
            if ours and (ref.namespace, ref.name, ref.uid) not in served:
                await self.queue.forget(ref)

    def _failed(self, observation: Observation, outage: Outage) -> Observation:
        return replace(observation, stats=None, outage=outage, outage_seconds=self.queue.outage_seconds)

    async def _reset(self, ref: ScheduleRef, damaged: Damaged) -> None:
        """Another program wrote to the schedule's keys. Without them the schedule recovers as if its queue had been lost."""
        log.warning("%s", damaged, extra={"namespace": ref.namespace, "schedule": ref.name})
        with contextlib.suppress(Outage):
            await self.queue.forget(ref)

    async def _error_groups(self, ref: ScheduleRef, stats: Stats) -> tuple[ErrorGroup, ...]:
        """Dead letters by error. The query reads all of them, so it runs only when the schedule's state changed."""
        key = ref.namespace, ref.name
        if not stats.dead:
            self._groups.pop(key, None)
            return ()
        known = self._groups.get(key)
        if known is None or known[0] != stats:
            known = self._groups[key] = stats, await self.queue.error_groups(ref)
        return known[1]

    async def _control(self, observation: Observation, stats: Stats) -> bool:
        """Set again what a lost queue forgot. False where nothing had to be set.

        The pace comes after the baseline: a worker that finds neither waits for both (jobs/approval.py)."""
        pace, acted = observation.pace, False
        if (baseline := lost_baseline(replace(observation, stats=stats))) is not None:
            await self.queue.restore_baseline(observation.ref, baseline)
            acted = True
        if stats.known and pace is not None and (stats.pace != pace or not stats.paced):
            await self.queue.set_pace(observation.ref, pace)
            acted = True
        # The second: an older version paused it, or the queue lost when it was. Its time does not count from now on.
        if stats.known and paused(observation) and (not stats.paused or stats.paused_since is None):
            await self.queue.pause(observation.ref, True)
            acted = True
        return acted

    async def _resume(self, observation: Observation) -> bool:
        assert observation.stats is not None
        if paused(observation) or not observation.stats.paused or observation.plan is None:
            return False
        await self.queue.pause(observation.ref, False)
        return True

    async def _check(self, observation: Observation) -> bool:
        """Have a worker check the source until it reported on this plan, and again where it reported a failure. True where it was enqueued.

        Also where this plan was checked before: the report may be lost, or an edit that was taken back replaced it."""
        if observation.plan is None or observation.stats is None or suspended(observation):
            return False
        mine = observation.plan.version
        checked = any(each.kind == "SourceReady" and each.plan.same(mine) for each in observation.stats.findings)
        wanted = needs_check(observation) or not checked
        return wanted and await self.queue.enqueue_check(observation.ref, mine)
