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
from kubesweep.scheduling import edit_request
from kubesweep.text import clip
from kubesweep_controller.children.pod_policy import PodPolicy, check_pods
from kubesweep_controller.kube.cache import SHARE, Store
from kubesweep_controller.kube.client import SCHEDULES, Api
from kubesweep_controller.kube.events import Events
from kubesweep_controller.kube.object_limits import HEAVIEST, is_cut, lean
from kubesweep_controller.kube.workqueue import Key, backoff
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.circuit_breaker import Gate
from kubesweep_controller.reconcile.children_reconciler import Household
from kubesweep_controller.reconcile.commands import Obeyed, obey, pending_orders
from kubesweep_controller.reconcile.interval_ticks import due_tick, seconds_to_next, tick_request
from kubesweep_controller.reconcile.ownership import LOOK, Releases, served_by
from kubesweep_controller.reconcile.recovery import needs_check, recovery_request
from kubesweep_controller.status.build import build_status
from kubesweep_controller.status.conditions import suspended
from kubesweep_controller.status.event_rules import events_of
from kubesweep_controller.status.observation import Facts
from kubesweep_controller.status.pruned_fields import Dropped

_log = logging.getLogger("kubesweep.controller")
STARTING = 5.0  # seconds from look to look while a pod that is wanted is not ready
LARGEST = 120_000  # bytes of a plan; Linux takes 128 KiB (MAX_ARG_STRLEN, execve(2))
AGAIN = 0.5  # where somebody else was faster
LASTING = 30.0  # seconds of failing looks until they are told
HINDERED = 30.0  # and while the cluster does not let a child be


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
    api: Api
    store: Store
    household: Household
    gate: Gate
    events: Events
    metrics: Metrics
    releases: Releases
    namespaces: tuple[str, ...] = ()  # that are served; empty: all
    pod_policy: PodPolicy = field(default_factory=PodPolicy)
    clock: Callable[[], float] = time.time
    evicts: Callable[[], str] = lambda: ""  # the eviction policy of the queue

    def __post_init__(self) -> None:
        self._refs: dict[Key, ScheduleRef] = {}
        self._specs: dict[Key, _Spec] = {}
        self._dropped = Dropped()
        self._groups: dict[Key, tuple[Stats, tuple[ErrorGroup, ...]]] = {}
        self._troubles: dict[Key, _Trouble] = {}

    @property
    def queue(self) -> QueueService:
        return self.gate.queue

    async def look(self, key: Key) -> float | None:
        """Make it so, and say so. Seconds until the next look; None: there is no such schedule."""
        began = time.monotonic()
        try:
            again = await self._look(key)
        except Exception as error:
            self.metrics.reconciled(time.monotonic() - began, getattr(error, "reason", type(error).__name__))
            raise
        self.metrics.reconciled(time.monotonic() - began, None)
        return again

    async def _look(self, key: Key) -> float | None:
        body = self.store.schedules.get(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            await self._gone(key)
            return None
        body = self._dropped.restored(key, body)
        if other := await self.releases.other(body):
            return await self._leave(key, body, other)
        if served_by(body) != self.releases.mine:
            if (claimed := await self._claim(key, body)) is None:
                return AGAIN
            body = claimed
        ref = ScheduleRef(self.install, *key, body["metadata"]["uid"])
        if self._refs.get(key, ref) != ref:
            with contextlib.suppress(Outage):  # its keys expire by themselves; the new one need not wait for that
                await self._gone(key)
        self._refs[key] = ref
        facts = self._read(body, ref)
        facts = await self._ask(facts, pause=True)
        facts, failure = await self._tend(key, facts)
        facts, obeyed = await self._act(facts)
        if facts.outage is None and (problem := self.household.login_problem(key)):
            facts = replace(facts, outage=problem, away=math.inf)
        await self._tell(facts, obeyed)
        if failure is not None:
            return min(self._again(facts), self._troubled(key, failure))
        self._troubles.pop(key, None)
        return self._again(facts)

    async def _tend(self, key: Key, facts: Facts) -> tuple[Facts, Exception | None]:
        """A look whose children cannot be tended stops no tick of what stood before, and is told once it lasts."""
        try:
            return replace(facts, children=await self.household.tend(key, facts)), None
        except Exception as error:
            trouble = self._troubles.setdefault(key, _Trouble(self.clock()))
            lasts = self.clock() - trouble.since >= LASTING
            said = f"{type(error).__name__}: {error}" if not isinstance(error, KubesweepError) else str(error)
            return replace(facts, children=self.household.seen(key), trouble=clip(said, 1000) if lasts else ""), error

    def _troubled(self, key: Key, failure: Exception) -> float:
        """Seconds until the children are tried again."""
        trouble = self._troubles.setdefault(key, _Trouble(self.clock()))
        trouble.times += 1
        delay = backoff(trouble.times, random.uniform(0.5, 1.0))
        self.metrics.failed(getattr(failure, "reason", type(failure).__name__))
        about = {"namespace": key[0], "schedule": key[1], "again_in": round(delay, 1)}
        known = isinstance(failure, KubesweepError)
        _log.warning("the children cannot be tended: %s", failure, exc_info=None if known else failure, extra=about)
        return delay

    async def _claim(self, key: Key, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The object with our name in its status; None: look again."""
        written = await self.releases.claim(body)
        if written is None:
            return None
        status = {**(written.get("status") or {}), "servedBy": self.releases.mine}
        self._dropped.wrote(key, status, written)
        self.store.saw(SCHEDULES, written)
        return {**lean(written), "status": status}

    async def _leave(self, key: Key, body: Mapping[str, Any], other: str) -> float:
        """Nothing is touched, and what the queue of ours may know of it expires."""
        if (told := self.releases.leave(body, other)) is not None:
            await self.events.post(body, told)
        self._drop(key)
        return LOOK

    def _read(self, body: Mapping[str, Any], ref: ScheduleRef) -> Facts:
        key = ref.namespace, ref.name
        meta = body["metadata"]
        cut = is_cut(body.get("spec"))
        version = ref, meta["generation"], cut, (meta.get("annotations") or {}).get(APPLIED)
        known = self._specs.get(key)
        if known is None or known.version != version:
            known = self._specs[key] = _parse(body, ref, version, self.pod_policy)
        plan = known.plan and self.household.running_plan(key, known.plan)
        return Facts(
            body, self.clock(), ref, known.schedule, known.refusal, plan, stats=None, outage=None, evicts=self.evicts()
        )

    async def _ask(self, facts: Facts, *, pause: bool = False) -> Facts:
        """What the queue says. ``pause``: see to it first that a suspended schedule hands out nothing."""
        try:
            self.gate.check()
            [stats] = await self.gate.ask(self.queue.stats([facts.ref]))
            if pause and suspended(facts) and stats.known and not stats.paused:
                await self.gate.ask(self.queue.pause(facts.ref, True))
                [stats] = await self.gate.ask(self.queue.stats([facts.ref]))
            groups = await self._error_groups(facts.ref, stats)
        except Damaged as damaged:
            await self._start_anew(facts.ref, damaged)
            return replace(facts, stats=None, outage=damaged, away=math.inf)
        except Outage as outage:
            return replace(facts, stats=None, outage=outage, away=self.gate.away)
        return replace(facts, now=self.clock(), stats=stats, outage=None, groups=groups)

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

    async def _act(self, facts: Facts) -> tuple[Facts, list[Obeyed]]:
        """Everything that the queue is told. After it the facts are those of after it."""
        if facts.stats is None:
            return facts, []
        obeyed: list[Obeyed] = []
        try:
            acted = await self._resume(facts)
            for order in pending_orders(facts):
                obeyed.append(await obey(self.queue, facts, order))
            for request in _requests(facts):
                opened = await self.gate.ask(self.queue.open_sweep(facts.ref, request))
                if opened.warning:
                    _log.warning("%s/%s: %s", facts.ref.namespace, facts.ref.name, opened.warning)
                acted = True
            await self._check(facts)
        except Outage as outage:
            self.gate.met(outage)
            return replace(facts, stats=None, outage=outage, away=self.gate.away), obeyed
        return (await self._ask(facts) if acted or obeyed else facts), obeyed

    async def _resume(self, facts: Facts) -> bool:
        assert facts.stats is not None
        if suspended(facts) or not facts.stats.paused or facts.plan is None:
            return False
        await self.gate.ask(self.queue.pause(facts.ref, False))
        return True

    async def _check(self, facts: Facts) -> None:
        """Let a worker look at the source, once for each plan, and again where one complained."""
        if facts.plan is None or facts.stats is None or suspended(facts):
            return
        mine = facts.plan.version
        looked = any(each.kind == "SourceReady" and each.plan.same(mine) for each in facts.stats.findings)
        again = needs_check(facts)
        if again or not looked:
            await self.gate.ask(self.queue.enqueue_check(facts.ref, mine, again=again))

    async def _tell(self, facts: Facts, obeyed: list[Obeyed]) -> None:
        status = build_status(facts, [each.order for each in obeyed])
        self.metrics.observe(facts, status)
        if status == facts.body.get("status"):
            return
        for wanted in events_of(facts, status, obeyed):
            await self.events.post(facts.body, wanted)
        written = await self.api.replace_status(SCHEDULES, facts.body, status)
        if written is not None:
            self._dropped.wrote((facts.ref.namespace, facts.ref.name), status, written)
            self.store.saw(SCHEDULES, written)

    def _again(self, facts: Facts) -> float:
        seconds = seconds_to_next(facts)
        children = facts.children
        if (children.wanted or 0) > children.ready:
            seconds = min(seconds, STARTING)
        return min(seconds, HINDERED) if children.stuck or children.taken else seconds

    async def _gone(self, key: Key) -> None:
        """The schedule is deleted (its children go with their owner): nothing of it stays in the queue or in memory."""
        ref = self._refs.get(key)
        if ref is not None:
            await self.gate.ask(self.queue.forget(ref))
            self.events.forget(ref.uid)
        self._drop(key)

    def _drop(self, key: Key) -> None:
        """What is remembered of a schedule."""
        self._refs.pop(key, None)
        self._groups.pop(key, None)
        self._specs.pop(key, None)
        self._troubles.pop(key, None)
        self._dropped.forget(key)
        self.metrics.forget(*key)
        self.household.forget(key)

    async def forget_strangers(self) -> None:
        """Forget what the queue knows of schedules that were deleted while nobody looked. Keys of a queue that cannot be
        searched (least rights) go by themselves, a week after their last tick."""
        served = {(*key, body["metadata"]["uid"]) for key, body in self.store.schedules.items()}
        # Not through the gate: a search that takes too long on a server with many keys is no queue that is away.
        for ref in await self.queue.schedules():
            ours = ref.install == self.install and (not self.namespaces or ref.namespace in self.namespaces)
            if ours and (ref.namespace, ref.name, ref.uid) not in served:
                await self.gate.ask(self.queue.forget(ref))


def _parse(body: Mapping[str, Any], ref: ScheduleRef, version: tuple[Any, ...], policy: PodPolicy) -> _Spec:
    if is_cut(body.get("spec")):
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


def _requests(facts: Facts) -> list[SweepRequest]:
    """The sweeps to open now: in place of a lost one, for an edit during a sweep, and for a tick of ``every``."""
    requests = []
    if (recovery := recovery_request(facts)) is not None:
        requests.append(recovery)
    if (newer := _edit_request(facts)) is not None:
        requests.append(newer)
    if (tick := due_tick(facts)) is not None:
        requests.append(tick_request(facts, tick))
    return requests


def _edit_request(facts: Facts) -> SweepRequest | None:
    """After an edit during a sweep: what that sweep planned is void, so the new plan gets a sweep now."""
    if facts.plan is None or facts.stats is None or suspended(facts):
        return None
    return edit_request(facts.plan, facts.stats.sweep, facts.now)
