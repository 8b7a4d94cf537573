"""What happens periodically: full lists, detection of KEDA, and garbage collection in the queue.

A watch may miss deletions. So everything is listed every ten minutes, and every schedule gets a full resync, which includes the
children that are not watched. In a cluster where nothing changed this writes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from kubesweep.errors import Outage
from kubesweep_controller.children.names import MANAGED_SELECTOR, ScheduleKey
from kubesweep_controller.children.scaling import KEDA
from kubesweep_controller.kube.cache import WATCHED, Cache
from kubesweep_controller.kube.client import SCHEDULES, Kind, KubeClient, Refused
from kubesweep_controller.kube.workqueue import WorkQueue
from kubesweep_controller.reconcile.children_reconciler import ChildrenReconciler
from kubesweep_controller.reconcile.reconciler import Reconciler

PERIOD = 600.0  # seconds between full lists
SPREAD = 30.0  # seconds over which the reconciles of a resync are spread
KEDA_POLL = 30.0
RETRY = 2.0
MAX_SLOW_SEARCHES = 3  # searches of the queue that time out before garbage collection gives up
log = logging.getLogger("kubesweep.controller.resync")


@dataclass
class Resync:
    """``listed`` is called after each full list, ``rewatch`` when the set of readable namespaces changed."""

    client: KubeClient
    namespaces: tuple[str, ...]
    cache: Cache
    workqueue: WorkQueue
    children: ChildrenReconciler
    reconciler: Reconciler
    listed: Callable[[], None]
    rewatch: Callable[[], None] = lambda: None  # the set of namespaces that can be watched changed
    refused: dict[str, str] = field(default_factory=dict)  # namespaces that cannot be listed, and why
    list_due: asyncio.Event = field(default_factory=asyncio.Event)  # a list is due now
    _once: asyncio.Event = field(default_factory=asyncio.Event)  # everything was listed once

    async def until_served(self) -> None:
        """Wait until the cluster serves SweepSchedules (the CRD may be installed later), and find out whether it has KEDA."""
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
                log.warning("waiting: %s", problem)
                logged = problem
            await asyncio.sleep(RETRY)

    async def run(self) -> None:
        """Run full lists until cancelled: every ``PERIOD`` seconds, or when one is due."""
        first, logged = True, ""
        while True:
            self.list_due.clear()
            try:
                await self._list(spread=0.0 if first else SPREAD)
                pause, first, logged = PERIOD * random.uniform(0.9, 1.1), False, ""
                if self.refused:  # a namespace or a permission may be added
                    pause = min(pause, KEDA_POLL)
            except (Outage, Refused) as error:
                if str(error) != logged:
                    log.warning("the full list failed: %s", error)
                pause, logged = RETRY, str(error)
            except Exception as error:  # the controller continues with what it knows
                if (text := f"{type(error).__name__}: {error}") != logged:
                    log.error("an unexpected error in the full list; please report it", exc_info=error)
                pause, logged = KEDA_POLL, text
            try:
                async with asyncio.timeout(pause):
                    await self.list_due.wait()
            except TimeoutError:
                pass

    async def _list(self, spread: float) -> None:
        """Children first: a schedule that is reconciled before its children are known would seem to have none."""
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
        """One list, with one page in memory at a time."""
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
        """A namespace that is gone, or that the controller has no permissions in, does not affect the others."""
        for namespace in refused.keys() - self.refused.keys():
            log.warning("the namespace is not served: %s", refused[namespace], extra={"namespace": namespace})
        for namespace in self.refused.keys() - refused.keys():
            log.info("the namespace is served", extra={"namespace": namespace})
        changed = self.refused.keys() != refused.keys()
        self.refused = refused
        if changed:
            self.rewatch()

    @property
    def served(self) -> tuple[str, ...]:
        """The namespaces that can be watched; empty: all."""
        return tuple(each for each in self.namespaces if each not in self.refused)

    def reconcile_all(self, spread: float = 0.0) -> None:
        """Reconcile every schedule with a full resync, spread over so many seconds."""
        for key in self.cache.schedules:
            self.children.full_resync.add(key)
            self.workqueue.add(key, random.uniform(0.0, spread))

    @property
    def was_listed(self) -> bool:
        return self._once.is_set()

    async def until_listed(self) -> None:
        """Wait until everything was listed once."""
        await self._once.wait()

    async def run_workqueue(self) -> None:
        """Reconcile until cancelled, starting after the first full list."""
        await self.until_listed()
        await self.workqueue.run()

    async def find_keda(self) -> None:
        """Detect when KEDA is installed or removed."""
        while True:
            try:
                served = await self.client.serves(KEDA)
                if served != self.children.keda:
                    log.info("KEDA was installed" if served else "KEDA was removed")
                    self.children.keda = served
                    self.reconcile_all()
            except (Outage, Refused) as error:
                log.debug("cannot detect KEDA: %s", error)
            await asyncio.sleep(KEDA_POLL)

    async def collect_garbage(self) -> None:
        """Delete from the queue, once, what belongs to schedules that were deleted while no controller ran."""
        await self.until_listed()
        slow = 0
        while True:
            try:
                await self.reconciler.collect_garbage()
                return
            except Outage as outage:
                slow += outage.reason == "QueueTimeout"
                if outage.reason == "QueueRights" or slow == MAX_SLOW_SEARCHES:
                    log.info("cannot search the queue; keys of deleted schedules expire by themselves: %s", outage)
                    return
            except Exception as error:
                log.error(
                    "an unexpected error in garbage collection; keys of deleted schedules expire by themselves",
                    exc_info=error,
                )
                return
            await asyncio.sleep(KEDA_POLL)
