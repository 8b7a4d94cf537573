"""The controller's HTTP endpoints: liveness, readiness and metrics.

Ready means that a SweepSchedule applied now is served: this process holds the Lease, everything was listed once, and the queue has
responded since the start. A standby that observes a live leader is ready too. Alive means that the event loop runs and that lists
succeed. An outage of the queue or the API server of some minutes is no reason for a restart.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from aiohttp import web

from kubesweep_controller.metrics import CONTENT_TYPE, Metrics

TURN = 1.0  # seconds between two beats of the event loop
MAX_LAG = 30.0


@dataclass
class Health:
    """Written by main and the manager, read by the probes."""

    max_age: float  # seconds since the last full list that mean a failure
    is_leader: bool = False
    is_standby: bool = False
    queue_reached: bool = False
    listed: float | None = None  # monotonic
    last_beat: float = 0.0  # monotonic: the event loop's last beat

    def liveness_problem(self, now: float) -> str:
        """Why this process should be restarted; empty if it should not."""
        if now - self.last_beat > MAX_LAG:
            return f"the event loop has been blocked for {now - self.last_beat:.0f} s"
        if self.is_leader and self.listed is not None and now - self.listed > self.max_age:
            return f"the last full list is {now - self.listed:.0f} s old"
        return ""

    def readiness_problem(self) -> str:
        """What is missing; empty if ready."""
        if self.is_standby and not self.is_leader:
            return ""
        if not self.is_leader:
            return "the Lease is not held yet"
        if self.listed is None:
            return "SweepSchedules have not been listed yet"
        return "" if self.queue_reached else "the queue has not responded yet"

    async def run(self) -> None:
        while True:
            self.last_beat = time.monotonic()
            await asyncio.sleep(TURN)


async def serve(health: Health, metrics: Metrics, port: int) -> web.AppRunner:
    """Listen on all addresses. ``cleanup()`` of the returned runner stops it. Port 0: any free port."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.liveness_problem(time.monotonic()))

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.readiness_problem())

    async def metrics_text(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics_text)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner


def _answer(problem: str) -> web.Response:
    return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)
