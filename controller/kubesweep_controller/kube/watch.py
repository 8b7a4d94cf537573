"""Watches through kopf: every object of the three kinds updates the cache and adds a key to the work queue.

kopf runs in a thread with an event loop of its own, because it cancels all tasks of its loop when it ends. It ends where a watch is
forbidden or its kind disappears for a while. Then it is restarted, and a full list brings what was missed. No object can make anything
here fail.

kopf connects, retries, and resumes a watch that ended. No object passes through its handlers: kopf keeps a queue and a task for each
object for a second and its state for ever, and some of its handlers write finalizers or annotations. So our own client reads its lists,
and each object goes from the function that reads it to ``on_object``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import aiohttp
import kopf
from kopf._cogs.clients import fetching, watching

from kubesweep.errors import Outage
from kubesweep_controller.children.names import MANAGED_SELECTOR
from kubesweep_controller.kube.cache import WATCHED
from kubesweep_controller.kube.client import Kind, KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.kube.object_limits import trim

OnObject = Callable[[Kind, Mapping[str, Any], bool], None]
Deliver = Callable[
    [Kind, Sequence[Mapping[str, Any]], bool], Awaitable[None]
]  # kind, objects, whether they were deleted

RESTART = 5.0  # seconds
log = logging.getLogger("kubesweep.controller.watch")


class Watcher:
    """``on_object`` (kind, object, deleted) is called in the event loop of :meth:`run`."""

    def __init__(
        self, kubeconfig: Kubeconfig, namespaces: Callable[[], tuple[str, ...] | None], on_object: OnObject
    ) -> None:
        """``namespaces``: those to watch at this moment; empty for all, None while there is nothing to watch."""
        self._kubeconfig = kubeconfig
        self._namespaces = namespaces
        self._on_object = on_object
        self._stop: Callable[[], None] | None = None

    async def run(self, served: Callable[[], Awaitable[None]], on_restart: Callable[[], None]) -> None:
        """Watch until cancelled.

        ``served`` is awaited first, because kopf never checks again for a kind that was missing at its start. ``on_restart`` is called whenever
        the watch starts again: then a full list is due.
        """
        loop = asyncio.get_running_loop()
        while True:
            await served()
            while self._namespaces() is None:  # noqa: ASYNC110  nothing reports new permissions
                await asyncio.sleep(RESTART)
            ended = asyncio.Event()
            thread = threading.Thread(target=self._thread, args=(loop, ended), name="kopf", daemon=True)
            thread.start()
            try:
                await ended.wait()
            finally:
                if self._stop is not None:
                    self._stop()
            log.warning("the watch ended; it starts again", extra={"again_in": RESTART})
            await asyncio.sleep(RESTART)
            on_restart()

    def restart(self) -> None:
        """End the watch; it starts again."""
        if self._stop is not None:
            self._stop()

    def _thread(self, main: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        try:
            asyncio.run(self._operate(main))
        except Exception as error:  # any error of kopf: it is logged, and the watch starts again
            log.warning("the watch failed: %s", str(error) or type(error).__name__)
        finally:
            self._stop = None
            if not main.is_closed():
                main.call_soon_threadsafe(ended.set)

    async def _operate(self, main: asyncio.AbstractEventLoop) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.call_soon_threadsafe(stop.set)

        self._stop = end
        namespaces = self._namespaces()
        where: dict[str, Any] = {"namespaces": namespaces} if namespaces else {"clusterwide": True}
        _patch_kopf(self._kubeconfig, self._deliver(main))
        # Without an identity kopf looks up the user's name, which does not exist in a pod.
        where["identity"] = "kubesweep"
        await kopf.operator(registry=self._registry(), settings=_settings(), standalone=True, stop_flag=stop, **where)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry, id="login")  # type: ignore[untyped-decorator, unused-ignore]
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return self._login()

        for kind in WATCHED:  # kopf watches a kind that has a handler
            kopf.on.event(*_selector(kind), registry=registry, id="none")(_unused)
        return registry

    def _deliver(self, main: asyncio.AbstractEventLoop) -> Deliver:
        async def observe(kind: Kind, objects: Sequence[Mapping[str, Any]], deleted: bool) -> None:
            for each in objects:
                self._on_object(kind, each, deleted)

        async def deliver(kind: Kind, objects: Sequence[Mapping[str, Any]], deleted: bool) -> None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(observe(kind, objects, deleted), main))

        return deliver

    def _login(self) -> kopf.ConnectionInfo:
        """Called at the start, and again when the server refused the token: by then the file has a new one."""
        at = self._kubeconfig
        try:
            token = at.token()
        except Outage as error:
            raise kopf.TemporaryError(str(error), delay=RESTART) from error
        return kopf.ConnectionInfo(
            server=at.server,
            ca_data=at.ca.strip() if at.ca else None,
            insecure=not at.verify,
            scheme="Bearer" if token else None,
            token=token,
            certificate_path=at.cert_file,
            private_key_path=at.key_file,
        )


_watch_objs = watching.watch_objs
_fetch_objs = fetching.fetch_objs


async def _unused(**_: Any) -> None:
    raise AssertionError("no object reaches kopf's handlers")


def _patch_kopf(kubeconfig: Kubeconfig, deliver: Deliver) -> None:
    """Replace kopf's functions that read lists and events with ours, which deliver the objects and pass on only their versions."""
    kinds = {(_selector(kind)[0], kind.plural): kind for kind in WATCHED}

    async def fetch_objs(*, resource: Any, namespace: Any, **more: Any) -> AsyncIterator[tuple[Collection[Any], str]]:
        kind = kinds.get((resource.group, resource.plural))
        if kind is None:
            async for chunk in _fetch_objs(resource=resource, namespace=namespace, **more):
                yield chunk
            return
        client = KubeClient(kubeconfig)
        try:
            async for page in client.pages(kind, namespace, "" if kind is WATCHED[0] else MANAGED_SELECTOR):
                await deliver(kind, [trim(each) for each in page], False)
                yield (), str(page.version)
        except Outage as error:  # kopf lists again after these
            raise aiohttp.ClientConnectionError(str(error)) from error
        finally:
            await client.close()

    async def watch_objs(*, resource: Any, **more: Any) -> AsyncIterator[Any]:
        kind = kinds.get((resource.group, resource.plural))
        async for event in _watch_objs(resource=resource, **more):
            if kind is not None and event.get("type") in ("ADDED", "MODIFIED", "DELETED"):
                seen = trim(event["object"])
                await deliver(kind, [seen], event["type"] == "DELETED")
                yield {"type": "BOOKMARK", "object": seen}  # of which kopf reads the version alone
            else:
                yield event

    fetching.fetch_objs = fetch_objs
    watching.watch_objs = watch_objs


def _selector(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.group_version.rpartition("/")
    return group, version, kind.plural


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # log lines are not posted as Events
    settings.scanning.disabled = True  # otherwise it would handle nothing where permissions are per namespace
    settings.process.ultimate_exiting_timeout = None
    settings.networking.connect_timeout = 5.0
    settings.networking.request_timeout = 30.0
    settings.networking.error_backoffs = (0.5, 1, 2, 4, 8)
    settings.queueing.idle_timeout = 1.0
    for kind in WATCHED[1:]:
        settings.watching.label_selectors[_selector(kind)] = MANAGED_SELECTOR
    return settings
