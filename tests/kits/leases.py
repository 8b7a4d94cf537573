"""An API server that keeps one Lease and refuses a write of an older version, as the real one does. Tests move its clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from kubesweep_controller.kube.client import KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.kube.leader_election import LeaderElection, LeaseTimes
from tests.integration.receivers import receiver
from tests.kits.deadlines import scaled

PATH = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"


class Leases:
    """``now`` is the clock of each election, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lease: dict[str, Any] | None = None
        self.calls: list[str] = []
        self.refusal: tuple[int, str] | None = None  # status and reason of each answer
        self.hangs = False
        self.before_write: Callable[[], None] = lambda: None  # called once, between a read and the write after it
        self._called = asyncio.Event()

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        return self.lease["spec"]  # type: ignore[no-any-return]

    def write(self, **spec: Any) -> None:
        """As another process."""
        known = self.lease or {"metadata": {"name": "ks", "namespace": "shop", "uid": "1", "resourceVersion": "0"}}
        version = str(int(known["metadata"]["resourceVersion"]) + 1)
        meta = {**known["metadata"], "resourceVersion": version}
        self.lease = {**known, "metadata": meta, "spec": {**known.get("spec", {}), **spec}}

    def taken_by(self, holder: str, duration: int = 15) -> None:
        self.write(holderIdentity=holder, leaseDurationSeconds=duration, acquireTime="then", leaseTransitions=4)

    def delete(self) -> None:
        self.lease = None

    def create_again(self) -> None:
        self.write()
        assert self.lease is not None
        self.lease["metadata"]["uid"] = "2"

    async def answer(self, request: web.Request) -> web.Response:
        self.calls.append(request.method)
        self._called.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.refusal is not None:
            return _refused(*self.refusal)
        if request.method == "GET":
            return web.json_response(self.lease) if self.lease is not None else _refused(404, "NotFound")
        before, self.before_write = self.before_write, lambda: None
        before()
        body = await request.json()
        if request.method == "POST":
            assert request.path == PATH
            if self.lease is not None:
                return _refused(409, "AlreadyExists")
        elif self.lease is None:
            return _refused(404, "NotFound")
        elif body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            return _refused(409, "Conflict")
        self.write(**body["spec"])
        return web.json_response(self.lease)

    async def until_called(self, method: str, times: int) -> None:
        """Until this many calls of the method have arrived from now on. The first may have begun before what the test changed."""
        seen = self.calls.count(method)
        async with asyncio.timeout(scaled(60)):
            while self.calls.count(method) < seen + times:
                self._called.clear()
                await self._called.wait()

    @asynccontextmanager
    async def election(self, identity: str = "me", retry: float = 0.001) -> AsyncIterator[LeaderElection]:
        async with receiver(self.answer) as url:
            client = KubeClient(Kubeconfig(url))
            try:
                times = LeaseTimes(duration=15.0, deadline=10.0, retry=retry)
                yield LeaderElection(client, "shop", "ks", identity, times, lambda: self.now)
            finally:
                await client.close()


def _refused(status: int, reason: str) -> web.Response:
    return web.json_response({"kind": "Status", "reason": reason, "message": f"it is {reason}"}, status=status)
