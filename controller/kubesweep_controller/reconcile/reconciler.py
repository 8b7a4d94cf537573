"""One schedule, top to bottom. Every look starts from what the API server and the queue say now, so it does not matter how
many looks were missed, or by which controller the one before was made.

The order is fixed. What stops work comes before what is told of it, what lets work go on comes after: a suspended schedule is
paused before anybody counts what still runs, a resumed one gets its workers back before its queue opens. The queue being away
stops nothing of the Kubernetes half, an invalid spec leaves what was valid before as it is.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kubesweep.api.compile import compile_plan
from kubesweep.api.loading.objects import APPLIED, load_object
from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.plan import Plan
from kubesweep.errors import Damaged, KubesweepError, Outage, SpecError
from kubesweep.queue.model import ErrorGroup, ScheduleRef, Stats, SweepRequest
from kubesweep.queue.service import QueueService
from kubesweep.text import clip
from kubesweep_controller.children.names import ScheduleKey
from kubesweep_controller.children.pod_policy import PodPolicy, check_pods
from kubesweep_controller.kube.cache import SHARE, Cache
from kubesweep_controller.kube.client import SCHEDULES, KubeClient
from kubesweep_controller.kube.events import Events
from kubesweep_controller.kube.object_limits import HEAVIEST, is_truncated, trim
from kubesweep_controller.kube.workqueue import backoff
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.circuit_breaker import Gate
from kubesweep_controller.reconcile.children_reconciler import ChildrenReconciler
from kubesweep_controller.reconcile.commands import CommandResult, execute, pending_commands
from kubesweep_controller.reconcile.interval_ticks import due_tick, next_reconcile, tick_request
from kubesweep_controller.reconcile.ownership import LOOK, Ownership, served_by
from kubesweep_controller.reconcile.recovery import needs_check, recovery_request
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.conditions.build_conditions import suspended
from kubesweep_controller.status.event_rules import events_of
from kubesweep_controller.status.observation import Observation
from kubesweep_controller.status.pruned_fields import PrunedFields

_log = logging.getLogger("kubesweep.controller")
STARTING = 5.0  # seconds from look to look while a pod that is wanted is not ready
LARGEST = 120_000  # bytes of a plan; Linux takes 128 KiB (MAX_ARG_STRLEN, execve(2))
AGAIN = 0.5  # where somebody else was faster
LASTING = 30.0  # seconds of failing looks until they are told
BLOCKED_RETRY = 30.0  # and while the cluster does not let a child be


@dataclass(frozen=True)
class _Spec:
    """A spec as it was read; the same as long as its ``version`` is."""

    version: tuple[Any, ...]
    schedule: SweepSchedule | None
    refusal: SpecError | None
    plan: Plan | None


@dataclass
class _Trouble:
    """Looks that failed in a row at the children."""

    since: float
    times: int = 0


@dataclass
class Reconciler:
    """``look`` is what the work queue calls. ``install`` is part of all keys in the queue."""

    install: str
    client: KubeClient
    cache: Cache
    children_reconciler: ChildrenReconciler
    gate: Gate
    events: Events
    metrics: Metrics
    ownership: Ownership
    namespaces: tuple[str, ...] = ()  # that are served; empty: all
    pod_policy: PodPolicy = field(default_factory=PodPolicy)
    clock: Callable[[], float] = time.time
    eviction_policy: Callable[[], str] = lambda: ""  # the eviction policy of the queue

    def __post_init__(self) -> None:
        self._refs: dict[ScheduleKey, ScheduleRef] = {}
        self._specs: dict[ScheduleKey, _Spec] = {}
        self._pruned = PrunedFields()
        self._groups: dict[ScheduleKey, tuple[Stats, tuple[ErrorGroup, ...]]] = {}
        self._troubles: dict[ScheduleKey, _Trouble] = {}

    @property
    def queue(self) -> QueueService:
        return self.gate.queue

    async def look(self, key: ScheduleKey) -> float | None:
        """Make it so, and say so. Seconds until the next look; None: there is no such schedule."""
        began = time.monotonic()
        try:
            again = await self._look(key)
        except Exception as error:
            self.metrics.reconciled(time.monotonic() - began, getattr(error, "reason", type(error).__name__))
            raise
        self.metrics.reconciled(time.monotonic() - began, None)
        return again

    async def _look(self, key: ScheduleKey) -> float | None:
        body = self.cache.schedules.get(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            await self._gone(key)
            return None
        body = self._pruned.restored(key, body)
        if other := await self.ownership.other(body):
            return await self._leave(key, body, other)
        if served_by(body) != self.ownership.mine:
            if (claimed := await self._claim(key, body)) is None:
                return AGAIN
            body = claimed
        ref = ScheduleRef(self.install, *key, body["metadata"]["uid"])
        if self._refs.get(key, ref) != ref:
            with contextlib.suppress(Outage):  # its keys expire by themselves; the new one need not wait for that
                await self._gone(key)
        self._refs[key] = ref
        observation = self._read(body, ref)
        observation = await self._ask(observation, pause=True)
        observation, failure = await self._tend(key, observation)
        observation, results = await self._act(observation)
        if observation.outage is None and (problem := self.children_reconciler.credentials_problem(key)):
            observation = replace(observation, outage=problem, outage_seconds=math.inf)
        await self._tell(observation, results)
        if failure is not None:
            return min(self._again(observation), self._troubled(key, failure))
        self._troubles.pop(key, None)
        return self._again(observation)

    async def _tend(self, key: ScheduleKey, observation: Observation) -> tuple[Observation, Exception | None]:
        """A look whose children cannot be tended stops no tick of what stood before, and is told once it lasts."""
        try:
            return replace(observation, children=await self.children_reconciler.tend(key, observation)), None
        except Exception as error:
            reconcile_failure = self._troubles.setdefault(key, _Trouble(self.clock()))
            lasts = self.clock() - reconcile_failure.since >= LASTING
            said = f"{type(error).__name__}: {error}" if not isinstance(error, KubesweepError) else str(error)
            return replace(
                observation,
                children=self.children_reconciler.seen(key),
                reconcile_failure=clip(said, 1000) if lasts else "",
            ), error

    def _troubled(self, key: ScheduleKey, failure: Exception) -> float:
        """Seconds until the children are tried again."""
        reconcile_failure = self._troubles.setdefault(key, _Trouble(self.clock()))
        reconcile_failure.times += 1
        delay = backoff(reconcile_failure.times, random.uniform(0.5, 1.0))
        self.metrics.failed(getattr(failure, "reason", type(failure).__name__))
        about = {"namespace": key[0], "schedule": key[1], "again_in": round(delay, 1)}
        known = isinstance(failure, KubesweepError)
        _log.warning("the children cannot be tended: %s", failure, exc_info=None if known else failure, extra=about)
        return delay

    async def _claim(self, key: ScheduleKey, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The object with our name in its status; None: look again."""
        written = await self.ownership.claim(body)
        if written is None:
            return None
        status = {**(written.get("status") or {}), "servedBy": self.ownership.mine}
        self._pruned.wrote(key, status, written)
        self.cache.update(SCHEDULES, written)
        return {**trim(written), "status": status}

    async def _leave(self, key: ScheduleKey, body: Mapping[str, Any], other: str) -> float:
        """Nothing is touched, and what the queue of ours may know of it expires."""
        if (told := self.ownership.leave(body, other)) is not None:
            await self.events.post(body, told)
        self._drop(key)
        return LOOK

    def _read(self, body: Mapping[str, Any], ref: ScheduleRef) -> Observation:
        key = ref.namespace, ref.name
        meta = body["metadata"]
        cut = is_truncated(body.get("spec"))
        version = ref, meta["generation"], cut, (meta.get("annotations") or {}).get(APPLIED)
        known = self._specs.get(key)
        if known is None or known.version != version:
            known = self._specs[key] = _parse(body, ref, version, self.pod_policy)
        plan = known.plan and self.children_reconciler.running_plan(key, known.plan)
        return Observation(
            body,
            self.clock(),
            ref,
            known.schedule,
            known.refusal,
            plan,
            stats=None,
            outage=None,
            eviction_policy=self.eviction_policy(),
        )

    async def _ask(self, observation: Observation, *, pause: bool = False) -> Observation:
        """What the queue says. ``pause``: see to it first that a suspended schedule hands out nothing."""
        try:
            self.gate.check()
            [stats] = await self.gate.ask(self.queue.stats([observation.ref]))
            if pause and suspended(observation) and stats.known and not stats.paused:
                await self.gate.ask(self.queue.pause(observation.ref, True))
                [stats] = await self.gate.ask(self.queue.stats([observation.ref]))
            groups = await self._error_groups(observation.ref, stats)
        except Damaged as damaged:
            await self._start_anew(observation.ref, damaged)
            return replace(observation, stats=None, outage=damaged, outage_seconds=math.inf)
        except Outage as outage:
            return replace(observation, stats=None, outage=outage, outage_seconds=self.gate.outage_seconds)
        return replace(observation, now=self.clock(), stats=stats, outage=None, groups=groups)

    async def _start_anew(self, ref: ScheduleRef, damaged: Damaged) -> None:
        """Somebody else wrote to the schedule's keys: without them it is a schedule whose queue was lost, which recovers by itself."""
        _log.warning("%s", damaged, extra={"namespace": ref.namespace, "schedule": ref.name})
        with contextlib.suppress(Outage):
            await self.gate.ask(self.queue.forget(ref))

    async def _error_groups(self, ref: ScheduleRef, stats: Stats) -> tuple[ErrorGroup, ...]:
        """Dead letters by error; asked for only when something of the schedule changed, as it reads them all."""
        key = ref.namespace, ref.name
        if not stats.dead:
            self._groups.pop(key, None)
            return ()
        known = self._groups.get(key)
        if known is None or known[0] != stats:
            known = self._groups[key] = stats, await self.gate.ask(self.queue.error_groups(ref))
        return known[1]

    async def _act(self, observation: Observation) -> tuple[Observation, list[CommandResult]]:
        """Everything that the queue is told. After it the facts are those of after it."""
        if observation.stats is None:
            return observation, []
        results: list[CommandResult] = []
        try:
            acted = await self._resume(observation)
            for command in pending_commands(observation):
                results.append(await execute(self.queue, observation, command))
            for request in _due_requests(observation):
                opened = await self.gate.ask(self.queue.open_sweep(observation.ref, request))
                if opened.warning:
                    _log.warning("%s/%s: %s", observation.ref.namespace, observation.ref.name, opened.warning)
                acted = True
            await self._check(observation)
        except Outage as outage:
            self.gate.met(outage)
            return replace(observation, stats=None, outage=outage, outage_seconds=self.gate.outage_seconds), results
        return (await self._ask(observation) if acted or results else observation), results

    async def _resume(self, observation: Observation) -> bool:
        assert observation.stats is not None
        if suspended(observation) or not observation.stats.paused or observation.plan is None:
            return False
        await self.gate.ask(self.queue.pause(observation.ref, False))
        return True

    async def _check(self, observation: Observation) -> None:
        """Let a worker look at the source, once for each plan, and again where one complained."""
        if observation.plan is None or observation.stats is None or suspended(observation):
            return
        mine = observation.plan.version
        looked = any(each.kind == "SourceReady" and each.plan.same(mine) for each in observation.stats.findings)
        again = needs_check(observation)
        if again or not looked:
            await self.gate.ask(self.queue.enqueue_check(observation.ref, mine, again=again))

    async def _tell(self, observation: Observation, results: list[CommandResult]) -> None:
        status = build_status(observation, [each.command for each in results])
        self.metrics.observe(observation, status)
        if status == observation.body.get("status"):
            return
        for wanted in events_of(observation, status, results):
            await self.events.post(observation.body, wanted)
        written = await self.client.replace_status(SCHEDULES, observation.body, status)
        if written is not None:
            self._pruned.wrote((observation.ref.namespace, observation.ref.name), status, written)
            self.cache.update(SCHEDULES, written)

    def _again(self, observation: Observation) -> float:
        seconds = next_reconcile(observation)
        children = observation.children
        if (children.wanted or 0) > children.ready:
            seconds = min(seconds, STARTING)
        return min(seconds, BLOCKED_RETRY) if children.stuck or children.name_taken else seconds

    async def _gone(self, key: ScheduleKey) -> None:
        """The schedule is deleted (its children go with their owner): nothing of it stays in the queue or in memory."""
        ref = self._refs.get(key)
        if ref is not None:
            await self.gate.ask(self.queue.forget(ref))
            self.events.forget(ref.uid)
        self._drop(key)

    def _drop(self, key: ScheduleKey) -> None:
        """What is remembered of a schedule."""
        self._refs.pop(key, None)
        self._groups.pop(key, None)
        self._specs.pop(key, None)
        self._troubles.pop(key, None)
        self._pruned.forget(key)
        self.metrics.forget(*key)
        self.children_reconciler.forget(key)

    async def collect_garbage(self) -> None:
        """Forget what the queue knows of schedules that were deleted while nobody looked. Keys of a queue that cannot be
        searched (least rights) go by themselves, a week after their last tick."""
        served = {(*key, body["metadata"]["uid"]) for key, body in self.cache.schedules.items()}
        # Not through the gate: a search that takes too long on a server with many keys is no queue that is away.
        for ref in await self.queue.schedules():
            ours = ref.install == self.install and (not self.namespaces or ref.namespace in self.namespaces)
            if ours and (ref.namespace, ref.name, ref.uid) not in served:
                await self.gate.ask(self.queue.forget(ref))


def _parse(body: Mapping[str, Any], ref: ScheduleRef, version: tuple[Any, ...], policy: PodPolicy) -> _Spec:
    if is_truncated(body.get("spec")):
        text = (
            f"spec: it takes more than {HEAVIEST >> 20} MiB, or the large ones of the namespace more than {SHARE >> 20} MiB, and so the controller keeps "
            "none of it: make this SweepSchedule smaller, or those beside it fewer"
        )
        return _Spec(version, None, SpecError("TooLarge", text), None)
    try:
        schedule = load_object(body)
        check_pods(schedule.spec, policy)
        plan = compile_plan(schedule, uid=ref.uid, install=ref.install)
        if (size := len(plan.to_json().encode())) > LARGEST:
            text = f"spec: the plan has {size} bytes, and an environment variable of a pod takes {LARGEST}: name fewer or shorter values in spec.match"
            return _Spec(version, None, SpecError("PlanTooLarge", text), None)
        return _Spec(version, schedule, None, plan)
    except SpecError as error:
        return _Spec(version, None, error, None)
    except Exception as error:  # a spec that makes the reading of it fail is one that cannot be served
        _log.exception("a spec cannot be read", extra={"namespace": ref.namespace, "schedule": ref.name})
        return _Spec(version, None, SpecError("Unreadable", f"the spec cannot be read ({type(error).__name__})"), None)


def _due_requests(observation: Observation) -> list[SweepRequest]:
    """The sweeps to open now: in place of a lost one, of one that was cut for an older plan, and for a tick of ``every``."""
    requests = []
    if (recovery := recovery_request(observation)) is not None:
        requests.append(recovery)
    if (newer := _superseding_request(observation)) is not None:
        requests.append(newer)
    if (tick := due_tick(observation)) is not None:
        requests.append(tick_request(observation, tick))
    return requests


def _superseding_request(observation: Observation) -> SweepRequest | None:
    """An edit while a sweep runs: what it planned is void, so the new plan gets its sweep now, not at the next tick."""
    plan, sweep = observation.plan, observation.stats.sweep if observation.stats else None
    if plan is None or sweep is None or sweep.state.settled or suspended(observation):
        return None
    if not plan.version.newer_than(sweep.plan):
        return None
    once = f"plan/{plan.version.hash}/{sweep.id}"
    return SweepRequest(
        tick=observation.now, plan=plan.version, mode=plan.mode, retention=plan.retention, dedup_key=once
    )
