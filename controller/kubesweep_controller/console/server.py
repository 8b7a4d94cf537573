"""Serves the console from a thread with an event loop of its own, so that a page with many schedules delays no reconcile.

It only reads. Connections and open streams are limited, because everybody who reaches the Service may open some. A console that cannot be served
is logged, and the controller continues without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from kubesweep_console.app import build_console
from kubesweep_console.settings import ConsoleSettings
from kubesweep_controller.console.provider import ClusterProvider, Schedules
from kubesweep_controller.kube.client import KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.settings import Settings

__all__ = ["ConsoleServer"]

MAX_CONNECTIONS = 200
MAX_STREAMS = 100  # readers with an open page
READING = ("GET", "HEAD")
API_TIMEOUT = 5.0  # seconds
KEEP_ALIVE = 15.0  # seconds that an idle connection stays open
log = logging.getLogger("kubesweep.controller.console")


class ConsoleServer:
    """``cached`` may be replaced at any time: see :class:`ClusterProvider`."""

    def __init__(self, settings: Settings, kubeconfig: Kubeconfig) -> None:
        self.cached: Callable[[], Schedules | None] = lambda: None
        self.port = 0  # of IPv4, once it listens
        self._settings, self._kubeconfig = settings, kubeconfig
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def start(self) -> None:
        """Listen on all addresses, in the background."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether it listens, within so many seconds."""
        return self._listening.wait(seconds)

    def stop(self) -> None:
        """End the thread. Readers are disconnected."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _schedules(self) -> Schedules | None:
        return self.cached()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:
            log.error("the console is not served: %s", str(error) or type(error).__name__)

    async def _serve(self) -> None:
        settings = self._settings
        client = KubeClient(self._kubeconfig, API_TIMEOUT)
        title = f"{settings.namespace}/{settings.lease_name}"
        provider = ClusterProvider(title, client, settings.namespaces, self._schedules)
        app = build_console(provider, ConsoleSettings(base=settings.console_base, streams=MAX_STREAMS))
        app.middlewares.insert(0, _read_only)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=KEEP_ALIVE, shutdown_timeout=1.0)
        try:
            await runner.setup()
            assert runner.server is not None
            factory = _bounded(runner.server)
            assert settings.console_port is not None
            listening = await self._loop.create_server(factory, None, settings.console_port)
            ports = {each.family: each.getsockname()[1] for each in listening.sockets}
            self.port = ports.get(socket.AF_INET, 0)
            self._listening.set()
            await self._stop.wait()
            listening.close()
        finally:
            await runner.cleanup()
            await client.close()


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _bounded(server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
    """Closes each connection beyond the limit at once: file descriptors are shared with the rest of the controller."""
    return lambda: server() if len(server.connections) < MAX_CONNECTIONS else _Refused()


@web.middleware
async def _read_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method not in READING:
        raise web.HTTPMethodNotAllowed(request.method, READING, text="The console of a cluster only shows.\n")
    return await handler(request)
