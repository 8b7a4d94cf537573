"""Leader election by a Lease. The Lease's uid also identifies this installation in the queue.

Leadership avoids duplicate work, it is not a fence: two leaders do no harm, because the queue opens no tick twice and the API server
accepts the same apply twice. So the algorithm is simple. A leader that cannot renew stops in time (timeout of a call < renew deadline <
lease duration). A standby measures the time since it last saw the Lease change with its own clock, never the leader's.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubesweep.errors import Outage
from kubesweep_controller.kube.client import LEASES, Body, KubeClient, Refused

log = logging.getLogger("kubesweep.controller.leader_election")


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds. A call to the API server must take less than ``deadline`` minus ``retry``."""

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0


class LeaderElection:
    """``identity``: this pod's name, so that its restarted container continues without waiting."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes = LeaseTimes(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._namespace, self._name, self._identity = client, namespace, name, identity
        self._times, self._clock = times, clock
        self._body: Body | None = None
        self._seen: tuple[str, float] = ("", 0.0)
        self._renewed = 0.0  # before the latest write of ours was sent: a standby may count from that moment
        self.is_standby = False  # another process was seen to renew the Lease while we wait

    async def acquire(self) -> str:
        """Wait until the Lease is ours. Returns its uid."""
        logged = ""
        while True:
            try:
                if await self._try():
                    self.is_standby = False
                    assert self._body is not None
                    log.info("leading", extra={"lease": self._name, "identity": self._identity})
                    return str(self._body["metadata"]["uid"])
                problem = f"{self._holder()} holds the Lease; waiting for it"
            except (Outage, Refused) as error:
                problem = f"cannot take the Lease: {error}"
            if problem != logged:
                log.info(problem, extra={"lease": self._name})
                logged = problem
            await asyncio.sleep(self._times.retry)

    async def renew_until_lost(self) -> str:
        """Renew until the Lease is lost. Returns why. From then on this process must do nothing more."""
        while True:
            await asyncio.sleep(self._times.retry)
            try:
                async with asyncio.timeout(max(0.1, self._renewed + self._times.deadline - self._clock())):
                    lost = await self._renew()
                if lost:
                    return lost
            except (Outage, Refused, TimeoutError) as error:
                if self._clock() - self._renewed >= self._times.deadline:
                    return f"it could not be renewed for {self._times.deadline:g} s: {str(error) or 'no answer'}"

    async def release(self) -> None:
        """Let the next leader take over at once. Never raises: if it fails, the next leader waits until the lease expires."""
        try:
            if self._body is not None and self._holder() == self._identity:
                await self._put("", 1)
        except (Outage, Refused) as error:
            log.info("the Lease was not released: %s", error)

    async def _try(self) -> bool:
        live = await self._client.get(LEASES, self._namespace, self._name)
        if live is None:
            meta = {"name": self._name, "namespace": self._namespace}
            fresh = {"apiVersion": LEASES.group_version, "kind": LEASES.kind, "metadata": meta}
            return await self._taken(self._client.create(LEASES, {**fresh, "spec": self._spec(self._identity, 0)}))
        self._body = live
        spec, now = live.get("spec") or {}, self._clock()
        mark = live["metadata"]["resourceVersion"]
        if mark != self._seen[0]:
            self.is_standby = bool(self._seen[0])
            self._seen = mark, now
        duration = float(spec.get("leaseDurationSeconds") or 0)
        free = not self._holder() or self._holder() == self._identity
        if not free and now - self._seen[1] < duration:
            return False
        return await self._put(self._identity, int(self._times.duration))

    async def _renew(self) -> str:
        """Why the Lease is lost; empty: it is still ours."""
        if await self._put(self._identity, int(self._times.duration)):
            return ""
        known = self._body
        live = await self._client.get(LEASES, self._namespace, self._name)
        if live is None or known is None or live["metadata"]["uid"] != known["metadata"]["uid"]:
            return "it was deleted"
        self._body = live
        return "" if self._holder() == self._identity else f"{self._holder() or 'another process'} took it"

    async def _put(self, holder: str, seconds: int) -> bool:
        """Write the Lease; False where somebody else wrote first."""
        assert self._body is not None
        spec = self._body.get("spec") or {}
        moved = holder and holder != spec.get("holderIdentity")
        changes = int(spec.get("leaseTransitions") or 0) + (1 if moved else 0)
        desired = {**self._body, "spec": {**spec, **self._spec(holder, changes), "leaseDurationSeconds": seconds}}
        if not moved and "acquireTime" in spec:
            desired["spec"]["acquireTime"] = spec["acquireTime"]
        return await self._taken(self._client.replace(LEASES, desired))

    async def _taken(self, call: Any) -> bool:
        began = self._clock()
        try:
            self._body = await call
        except Refused as refused:
            if refused.reason in ("Conflict", "AlreadyExists", "NotFound"):
                return False
            raise
        self._renewed = began
        return True

    def _spec(self, holder: str, changes: int) -> Body:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(self._times.duration),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": changes,
        }

    def _holder(self) -> str:
        return str(((self._body or {}).get("spec") or {}).get("holderIdentity") or "")
