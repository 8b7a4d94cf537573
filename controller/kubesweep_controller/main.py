"""kubesweep-controller: runs the controller from its environment to its exit.

The Lease comes before anything else. When the Lease is lost, the process exits at once and its pod restarts it. On SIGTERM the
Lease is released, so that the next leader need not wait. Nothing has to be finished first: every reconcile may be interrupted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from kubesweep import logging as logs
from kubesweep.errors import SpecError
from kubesweep_controller.health import Health, serve
from kubesweep_controller.kube import kubeconfig
from kubesweep_controller.kube.client import KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.kube.leader_election import LeaderElection
from kubesweep_controller.kube.object_limits import PARSED
from kubesweep_controller.manager import Manager
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.queue.password import QueuePassword
from kubesweep_controller.reconcile.resync import PERIOD
from kubesweep_controller.settings import Settings, from_environment

if TYPE_CHECKING:
    from kubesweep_controller.console.server import ConsoleServer

LEASE_TIMEOUT = 5.0  # seconds for one call for the Lease
log = logging.getLogger("kubesweep.controller")


def main() -> None:
    """The console script. Exit code 0 after SIGTERM, 1 if the Lease was lost or a part failed, 2 for invalid settings."""
    try:
        settings = from_environment(os.environ)
    except SpecError as error:
        print(f"kubesweep-controller: {error}", file=sys.stderr)
        sys.exit(2)
    logs.configure(settings.log_level)
    sys.setrecursionlimit(PARSED)
    _configure_kopf_logging(settings.log_level)
    try:
        sys.exit(asyncio.run(run(settings)))
    except SpecError as error:
        log.error("%s", error)
        sys.exit(2)


def _configure_kopf_logging(level: str) -> None:
    """Send kopf's log records to our handlers, and only its errors unless the level is debug."""
    kopf_log = logging.getLogger("kopf")
    kopf_log.handlers = list(logging.getLogger("kubesweep").handlers)
    kopf_log.setLevel(logging.INFO if level == "debug" else logging.ERROR)
    kopf_log.propagate = False


async def run(settings: Settings, config: Kubeconfig | None = None) -> int:
    """Lead after the Lease is acquired, until a signal or the loss of the Lease. Returns the exit code."""
    config = config or kubeconfig.find()
    client, lease_client = KubeClient(config), KubeClient(config, LEASE_TIMEOUT)
    health, metrics = Health(max_age=3 * PERIOD), Metrics()
    election = LeaderElection(lease_client, settings.namespace, settings.lease_name, settings.identity)
    stop = _stop_signal()
    beating = asyncio.create_task(health.run())
    probes = await serve(health, metrics, settings.port)
    console = _console(settings, config)
    try:
        uid = await _unless_stopped(stop, _await_leadership(election, health))
        if uid is None:
            return 0
        health.is_leader = True
        metrics.leading(True)
        return await _lead(settings, config, client, election, uid, health, metrics, console, stop)
    finally:
        if console is not None:
            await asyncio.to_thread(console.stop)
        beating.cancel()
        await probes.cleanup()
        await client.close()
        await lease_client.close()


def _console(settings: Settings, config: Kubeconfig) -> ConsoleServer | None:
    """The running console; None where it is disabled, which then imports nothing of it."""
    if settings.console_port is None:
        return None
    from kubesweep_controller.console.server import ConsoleServer

    console = ConsoleServer(settings, config)
    console.start()
    return console


async def _await_leadership(election: LeaderElection, health: Health) -> str:
    async def show() -> None:
        while True:
            health.is_standby = election.is_standby
            await asyncio.sleep(1.0)

    showing = asyncio.create_task(show())
    try:
        return await election.acquire()
    finally:
        showing.cancel()


async def _lead(
    settings: Settings,
    config: Kubeconfig,
    client: KubeClient,
    election: LeaderElection,
    uid: str,
    health: Health,
    metrics: Metrics,
    console: ConsoleServer | None,
    stop: asyncio.Event,
) -> int:
    password = QueuePassword.of(settings, client)
    manager = Manager(password.settings, config, client, uid[:8], health, metrics)
    if console is not None:
        console.cached = manager.schedules
    renewal = asyncio.create_task(election.renew_until_lost())
    tasks = [asyncio.create_task(each) for each in (*manager.coroutines(), password.run())]
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([renewal, stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if stopped in done:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            await election.release()
            return 0
        if renewal in done:
            log.error("the Lease is lost: %s", renewal.result(), extra={"lease": settings.lease_name})
            return 1
        for task in done:
            task.result()
        return 1
    finally:
        for task in (renewal, stopped, *tasks):
            task.cancel()
        await asyncio.gather(renewal, stopped, *tasks, return_exceptions=True)
        await manager.close()
        password.close()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop


async def _unless_stopped(stop: asyncio.Event, call: Coroutine[Any, Any, str]) -> str | None:
    """The result of ``call``, or None if the stop comes first."""
    working, stopped = asyncio.create_task(call), asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopped):
        task.cancel()
    await asyncio.gather(working, stopped, return_exceptions=True)
    return working.result() if working.done() and not working.cancelled() else None


if __name__ == "__main__":
    main()
