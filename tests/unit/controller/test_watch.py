"""The watch through kopf: what it delivers, and where it resumes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from kubesweep_controller.kube import watch
from kubesweep_controller.kube.client import SCHEDULES
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.kube.watch import Watcher
from tests.integration.receivers import receiver
from tests.kits.api_discovery import discovery
from tests.kits.deadlines import scaled


def schedule(name: str, version: str) -> dict[str, Any]:
    return {
        "kind": SCHEDULES.kind,
        "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": version},
    }


class Api:
    """One SweepSchedule is listed. The first watch of them has three events and ends, the second one stays open."""

    def __init__(self) -> None:
        self.since: list[str] = []
        self.resumed = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if (answer := discovery(request.path)) is not None:
            return answer
        mine = request.path.endswith("/sweepschedules")
        if not request.query.get("watch"):
            items = [schedule("listed", "8")] if mine else []
            return web.json_response({"metadata": {"resourceVersion": "9"}, "items": items})
        stream = web.StreamResponse()
        await stream.prepare(request)
        if mine:
            self.since.append(request.query["resourceVersion"])
        if mine and len(self.since) == 1:
            for number, what in enumerate(("ADDED", "MODIFIED", "DELETED")):
                event = {"type": what, "object": schedule("late", str(10 + number))}
                await stream.write(json.dumps(event).encode() + b"\n")
            return stream
        if mine:
            self.resumed.set()
        await asyncio.sleep(60)
        return stream


async def test_every_object_is_delivered_once_without_kopf_s_handlers_and_a_watch_resumes_after_the_last_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handled: list[Any] = []

    async def handler(**given: Any) -> None:
        handled.append(given)

    monkeypatch.setattr(watch, "_unused", handler)
    api, seen = Api(), list[tuple[str, str, bool]]()

    async def served() -> None:
        return None

    def on_object(kind: Any, body: Any, deleted: bool) -> None:
        seen.append((body["metadata"]["name"], body["metadata"]["resourceVersion"], deleted))

    async with receiver(api.serve) as url:
        running = asyncio.create_task(Watcher(Kubeconfig(url), lambda: (), on_object).run(served, lambda: None))
        try:
            async with asyncio.timeout(scaled(60)):
                await api.resumed.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert seen == [("listed", "8", False), ("late", "10", False), ("late", "11", False), ("late", "12", True)]
    assert api.since == ["9", "12"]
    assert handled == []
