"""What happens by the clock: full lists, looking for KEDA, and clearing up after schedules that went unseen.

A watch may lose deletions, so now and then everything is listed, and every schedule is looked at thoroughly: also at the
children that nobody watches. A cluster where nothing changed gets no write from that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from kubesweep.errors import Outage
from kubesweep_controller.children.names import MANAGED_SELECTOR, ScheduleKey
from kubesweep_controller.kube.cache import WATCHED, Cache
from kubesweep_controller.kube.client import SCHEDULES, Kind, KubeClient, Refused
from kubesweep_controller.kube.workqueue import WorkQueue
from kubesweep_controller.reconcile.children_reconciler import ChildrenReconciler
from kubesweep_controller.reconcile.reconciler import Reconciler

PERIOD = 600.0  # seconds between full lists
SPREAD = 30.0  # over which the looks of a resync are spread
KEDA_POLL = 30.0
RETRY = 2.0
MAX_SLOW_SEARCHES = 3  # of the queue that take too long, until it is let be
KEDA = "keda.sh/v1alpha1"
_log = logging.getLogger("kubesweep.controller.resync")


@dataclass
class Resync:
    client: KubeClient
    namespaces: tuple[str, ...]
    cache: Cache
    workqueue: WorkQueue
    children: ChildrenReconciler
    reconciler: Reconciler
    listed: Callable[[], None]
    rewatch: Callable[[], None] = lambda: None  # the namespaces that can be watched are others now
    refused: dict[str, str] = field(default_factory=dict)  # namespaces that cannot be listed, and why
    list_due: asyncio.Event = field(default_factory=asyncio.Event)  # a list is due now
    _once: asyncio.Event = field(default_factory=asyncio.Event)  # everything was listed once

    async def until_served(self) -> None:
        """Wait until the cluster knows SweepSchedules (the CRD may come after us) and has said whether it has KEDA."""
        logged = ""
        while True:
            try:
                if await self.client.serves(SCHEDULES.group_version):
                    self.children.keda = await self.client.serves(KEDA)
                    return
                problem = f"the cluster does not serve {SCHEDULES.group_version}: install the CRD"
            except (Outage, Refused) as error:
                problem = str(error)
            if problem != logged:
                _log.warning("waiting: %s", problem)
                logged = problem
            await asyncio.sleep(RETRY)

    async def run(self) -> None:
        """Full lists for ever, each ``PERIOD`` or when one is wanted."""
        first, logged = True, ""
        while True:
            self.list_due.clear()
            try:
                await self._list(spread=0.0 if first else SPREAD)
                pause, first, logged = PERIOD * random.uniform(0.9, 1.1), False, ""
                if self.refused:  # a namespace may come, or its rights
                    pause = min(pause, KEDA_POLL)
            except (Outage, Refused) as error:
                if str(error) != logged:
                    _log.warning("the full list failed: %s", error)
                pause, logged = RETRY, str(error)
            except Exception as error:  # whatever it is, the controller goes on with what it knows
                if (text := f"{type(error).__name__}: {error}") != logged:
                    _log.error("an error in the full list; please report it", exc_info=error)
                pause, logged = KEDA_POLL, text
            try:
                async with asyncio.timeout(pause):
                    await self.list_due.wait()
            except TimeoutError:
                pass

    async def _list(self, spread: float) -> None:
        """Children first: a schedule that is looked at before its children are known would seem to have none."""
        changed: set[ScheduleKey] = set()
        refused: dict[str, str] = {}
        for namespace in self.namespaces or (None,):
            try:
                for kind in reversed(WATCHED):
                    selector = "" if kind is SCHEDULES else MANAGED_SELECTOR
                    changed |= await self._list_kind(kind, namespace, selector)
            except Refused as error:
                if namespace is None:
                    raise
                refused[namespace] = str(error)
        self._set_refused(refused)
        for key in changed:
            self.workqueue.add(key)
        self.listed()
        self._once.set()
        self.reconcile_all(spread)

    async def _list_kind(self, kind: Kind, namespace: str | None, selector: str) -> set[ScheduleKey]:
        """One list, a page in memory at a time."""
        changed: set[ScheduleKey] = set()
        listed: set[str] = set()
        version = 0
        async for page in self.client.pages(kind, namespace, selector):
            found, uids = self.cache.page(kind, page)
            changed |= found
            listed |= uids
            version = page.version
        return changed | self.cache.listed(kind, listed, namespace, version)

    def _set_refused(self, refused: dict[str, str]) -> None:
        """A namespace that is gone, or that the controller has no rights in, is its own trouble: the others are served."""
        for namespace in refused.keys() - self.refused.keys():
            _log.warning("the namespace is not served: %s", refused[namespace], extra={"namespace": namespace})
        for namespace in self.refused.keys() - refused.keys():
            _log.info("the namespace is served", extra={"namespace": namespace})
        changed = self.refused.keys() != refused.keys()
        self.refused = refused
        if changed:
            self.rewatch()

    @property
    def served(self) -> tuple[str, ...]:
        """The namespaces that can be watched; empty: all."""
        return tuple(each for each in self.namespaces if each not in self.refused)

    def reconcile_all(self, spread: float = 0.0) -> None:
        """Look at every schedule thoroughly."""
        for key in self.cache.schedules:
            self.children.full_resync.add(key)
            self.workqueue.add(key, random.uniform(0.0, spread))

    async def until_listed(self) -> None:
        """Wait until everything was listed."""
        await self._once.wait()

    async def run_workqueue(self) -> None:
        """Look at schedules for ever, from the first full list on."""
        await self.until_listed()
        await self.workqueue.run()

    async def find_keda(self) -> None:
        """Notice KEDA when it comes, and when it goes."""
        while True:
            try:
                served = await self.client.serves(KEDA)
                if served != self.children.keda:
                    _log.info("KEDA is there" if served else "KEDA is gone")
                    self.children.keda = served
                    self.reconcile_all()
            except (Outage, Refused) as error:
                _log.debug("cannot look for KEDA: %s", error)
            await asyncio.sleep(KEDA_POLL)

    async def collect_garbage(self) -> None:
        """Forget, once, what the queue knows of schedules that were deleted while no controller ran."""
        await self.until_listed()
        slow = 0
        while True:
            try:
                await self.reconciler.collect_garbage()
                return
            except Outage as outage:
                slow += outage.reason == "QueueTimeout"
                if outage.reason == "QueueRights" or slow == MAX_SLOW_SEARCHES:
                    _log.info(
                        "the queue cannot be searched; keys of schedules that are gone expire by themselves: %s", outage
                    )
                    return
            except Exception as error:
                _log.error(
                    "an error in clearing up; keys of schedules that are gone expire by themselves", exc_info=error
                )
                return
            await asyncio.sleep(KEDA_POLL)
