"""The Kubernetes half of one look: the namespace's login, the children as they should be, and what is seen of them.

A problem of one child is a fact to tell, not an end: the look goes on, and the next one tries again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage
from kubesweep_controller.children.names import (
    COMPONENT_LABEL,
    SCHEDULE_LABEL,
    WORKER,
    cronjob_name,
    inherited,
    worker_name,
)
from kubesweep_controller.children.observed import Sight
from kubesweep_controller.kube.apply import Applier, Hindered, NameTaken, Rejected
from kubesweep_controller.kube.cache import Store
from kubesweep_controller.kube.client import PODS, SCALEDOBJECTS, Api, ApiOutage
from kubesweep_controller.kube.workqueue import Key
from kubesweep_controller.queue.credentials import Logins
from kubesweep_controller.reconcile.ensure_children import Wish, settled_plan, stand_up
from kubesweep_controller.reconcile.suspension import may_park
from kubesweep_controller.settings import Settings
from kubesweep_controller.status.active_schedule import active_schedule
from kubesweep_controller.status.conditions import find, suspended
from kubesweep_controller.status.formatting import parse_time
from kubesweep_controller.status.observation import Children, Facts
from kubesweep_controller.status.stuck_pods import why_stuck

PATIENCE = 5.0  # seconds that a pod may take to start before anybody asks why it does not, and between two questions


@dataclass
class Answer:
    """What was found out about pods that do not start, or a scaler that does not scale; ``asked`` is monotonic."""

    asked: float
    why: str | None = None
    fine: bool = False


@dataclass
class Household:
    settings: Settings
    api: Api
    store: Store
    applier: Applier
    logins: Logins
    keda: bool = False  # the cluster serves keda.sh
    thorough: set[Key] = field(default_factory=set)  # whose unwatched children are to be asked about too
    _logins_failed: dict[Key, Outage] = field(default_factory=dict)
    _stood: dict[Key, tuple[Any, ...] | None] = field(default_factory=dict)
    _scalers: dict[Key, Answer] = field(default_factory=dict)
    _stucks: dict[Key, Answer] = field(default_factory=dict)

    def login_problem(self, key: Key) -> Outage | None:
        """Why the schedule's pods may be unable to log in to the queue, as of the last look."""
        return self._logins_failed.get(key)

    def running_plan(self, key: Key, plan: Plan) -> Plan:
        return settled_plan(plan, self.store.deployment(key), self.store.cronjob(key))

    def forget(self, key: Key) -> None:
        namespace, name = key
        self.applier.forget(namespace, worker_name(name), cronjob_name(name))
        self.thorough.discard(key)
        self.logins.forget(namespace, name)
        for known in (self._logins_failed, self._stood, self._scalers, self._stucks):
            known.pop(key, None)

    def seen(self, key: Key) -> Children:
        """What is known of the children without asking anybody."""
        deployment, cronjob = self.store.deployment(key), self.store.cronjob(key)
        scaler = self._scalers.get(key)
        return Children(
            cron_last=cronjob.cron_last if cronjob else None,
            cron_since=cronjob.since if cronjob else None,
            wanted=deployment.wanted if deployment else None,
            ready=deployment.ready if deployment else 0,
            keda=self.keda,
            scaler_problem=scaler.why if scaler else None,
            scaled=scaler.fine if scaler else None,
            polling=self.settings.polling_interval,
        )

    async def tend(self, key: Key, facts: Facts) -> Children:
        """Make the children so, if the spec is valid, and see how they are. Raises ApiOutage."""
        taken = rejected = hindered = None
        try:
            await self._make(key, facts)
        except NameTaken as problem:
            taken = str(problem)
        except Rejected as problem:
            rejected = str(problem)
        except Hindered as problem:
            hindered = str(problem)
        stuck = hindered or await self._stuck(key, self.store.deployment(key))
        if self.keda and facts.plan and not taken:
            await self._ask_keda(key, facts)
        return replace(self.seen(key), taken=taken, rejected=rejected, stuck=stuck)

    async def _make(self, key: Key, facts: Facts) -> None:
        if facts.schedule is None or facts.plan is None:
            return
        try:
            doubtful = key in self.thorough or _nobody_works(facts)
            await self.logins.ensure(key[0], facts.body["metadata"], doubtful=doubtful)
        except ApiOutage:
            raise
        except Outage as outage:
            self._logins_failed[key] = outage  # the pods keep the login that they have
        else:
            self._logins_failed.pop(key, None)
        thorough = key in self.thorough
        wish = Wish(
            meta=dict(facts.body["metadata"]),
            schedule=facts.schedule,
            plan=facts.plan,
            user=self.logins.user(key[0]),
            keda=self.keda,
            parked=self._parked(key, facts),
            since=(active_schedule(facts) or {}).get("since"),
            labels=inherited(facts.body["metadata"], self.settings.pods.labels, self.settings.pods.copied_labels),
            thorough=thorough,
        )
        deployment, cronjob = self.store.deployment(key), self.store.cronjob(key)
        state = _state(facts, wish, deployment, cronjob)
        if state is not None and not thorough and self._stood.get(key) == state:
            return
        await stand_up(self.applier, self.settings, wish, deployment, cronjob)
        self._stood[key] = state
        if thorough:
            self.thorough.discard(key)
            self._scalers.pop(key, None)

    def _parked(self, key: Key, facts: Facts) -> bool:
        known = self.applier.remembered(SCALEDOBJECTS, key[0], worker_name(key[1]))
        deployment = self.store.deployment(key)
        parked = known.parked is not None if known else not self.keda and bool(deployment and deployment.wanted == 0)
        condition = find(facts.body.get("status") or {}, "Suspended") or {}
        since = parse_time(condition.get("lastTransitionTime")) if condition.get("status") == "True" else None
        return may_park(suspended=suspended(facts), parked=parked, stats=facts.stats, since=since, now=facts.now)

    async def _stuck(self, key: Key, deployment: Sight | None) -> str | None:
        if deployment is None or (deployment.wanted or 0) <= deployment.ready:
            self._stucks.pop(key, None)
            return None
        now = time.monotonic()
        known = self._stucks.setdefault(key, Answer(now))
        if now - known.asked >= PATIENCE:
            chosen = f"{SCHEDULE_LABEL}={key[1]},{COMPONENT_LABEL}={WORKER}"
            pods = await self.api.list(PODS, key[0], chosen)
            known = self._stucks[key] = Answer(now, why_stuck(deployment, pods))
        return known.why

    async def _ask_keda(self, key: Key, facts: Facts) -> None:
        """What KEDA says of the ScaledObject: until it says Ready, and again where work waits and no worker is started."""
        waits = facts.stats is not None and facts.stats.ready > 0 and not facts.stats.paused
        deployment = self.store.deployment(key)
        asleep = waits and not (deployment and deployment.wanted)
        now, known = time.monotonic(), self._scalers.get(key)
        if known and (now - known.asked < PATIENCE or (known.fine and not asleep)):
            return
        body = await self.api.get(SCALEDOBJECTS, key[0], worker_name(key[1]))
        ready = find((body or {}).get("status") or {}, "Ready") or {}
        state = ready.get("status", "Unknown")  # as long as KEDA has not looked at it
        why = f"KEDA: {ready.get('message', 'not Ready')}" if state == "False" else None
        self._scalers[key] = Answer(now, why, fine=state == "True")


def _nobody_works(facts: Facts) -> bool:
    """Jobs wait and none runs: workers may be on their way, or they (or KEDA) cannot log in."""
    return facts.stats is not None and facts.stats.ready > 0 and not facts.stats.running and not facts.stats.paused


def _state(facts: Facts, wish: Wish, deployment: Sight | None, cronjob: Sight | None) -> tuple[Any, ...] | None:
    """All that decides how the children should be, and whether anybody touched the watched ones. While it stays the same they
    stand: most looks are at the queue's numbers, and building every child for each would be most of their cost.

    None: one of them was not seen yet, or not since somebody took its labels, so no watch will tell of it."""
    if deployment is None or (cronjob is None and wish.schedule.spec.schedule is not None):
        return None
    replicas = None if wish.keda else deployment.wanted
    marks = deployment.mark, cronjob.mark if cronjob else None
    return (
        facts.body["metadata"]["generation"],
        wish.plan,
        wish.user,
        wish.keda,
        wish.parked,
        wish.since,
        tuple(sorted(wish.labels.items())),
        replicas,
        *marks,
    )
