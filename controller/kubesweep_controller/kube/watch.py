"""Watching through kopf: every event of the three kinds ends up in the store, and its key in the work queue.

kopf runs in a thread and an event loop of its own, because it takes all tasks of its loop with it when it ends, and it ends
where a watch is forbidden or its kind vanishes for a while. Then it is started again; a full list afterwards brings what was
missed. Only ``on.event`` handlers are used: anything else of kopf would write finalizers or annotations into the objects.
Nothing here may fail for what an object holds, and nothing here does work.

kopf keeps events for a second, and reads lists as they come, so twenty objects of a megabyte would be a gigabyte. Therefore its lists are
read by our own client, and of each object only what is used goes through it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
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

RESTART = 5.0  # seconds
_log = logging.getLogger("kubesweep.controller.watch")


class Watcher:
    """``saw`` (kind, object, deleted) is called in the event loop that :meth:`run` runs in."""

    def __init__(
        self, kubeconfig: Kubeconfig, namespaces: Callable[[], tuple[str, ...] | None], on_object: OnObject
    ) -> None:
        """``namespaces``: those to watch by now; empty for all, None while there is nothing to watch."""
        self._kubeconfig = kubeconfig
        self._namespaces = namespaces
        self._on_object = on_object
        self._stop: Callable[[], None] | None = None

    async def run(self, served: Callable[[], Awaitable[None]], restart: Callable[[], None]) -> None:
        """Watch until cancelled. ``served`` is awaited first, as kopf never looks again for a kind that was not there when
        it started. ``again`` is called whenever watching had ended and starts anew: then a list is due."""
        loop = asyncio.get_running_loop()
        while True:
            await served()
            while self._namespaces() is None:  # noqa: ASYNC110  the cluster tells nobody when it has rights again
                await asyncio.sleep(RESTART)
            ended = asyncio.Event()
            thread = threading.Thread(target=self._thread, args=(loop, ended), name="kopf", daemon=True)
            thread.start()
            try:
                await ended.wait()
            finally:
                if self._stop is not None:
                    self._stop()
            _log.warning("watching ended; it starts again", extra={"again_in": RESTART})
            await asyncio.sleep(RESTART)
            restart()

    def restart(self) -> None:
        """End the watch; it starts anew."""
        if self._stop is not None:
            self._stop()

    def _thread(self, main: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        try:
            asyncio.run(self._operate(main))
        except Exception as error:  # kopf's own, of whatever class: the reason is said, the watch starts again
            _log.warning("watching failed: %s", str(error) or type(error).__name__)
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
        _patch_kopf(self._kubeconfig)
        # Without an identity kopf looks for the user's name, and the user of a pod has none.
        where["identity"] = "kubesweep"
        await kopf.operator(
            registry=self._registry(main), settings=_settings(), standalone=True, stop_flag=stop, **where
        )

    def _registry(self, main: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry, id="login")  # type: ignore[untyped-decorator, unused-ignore]
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return self._login()

        for kind in WATCHED:
            kopf.on.event(*_selector(kind), registry=registry, id="saw")(self._handler(main, kind))
        return registry

    def _handler(self, main: asyncio.AbstractEventLoop, kind: Kind) -> Any:
        async def handle(event: Mapping[str, Any], **_: Any) -> None:
            main.call_soon_threadsafe(self._on_object, kind, dict(event["object"]), event["type"] == "DELETED")

        return handle

    def _login(self) -> kopf.ConnectionInfo:
        """Asked for at the start, and again whenever the server refused the token: by then the file has another one."""
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


def _patch_kopf(kubeconfig: Kubeconfig) -> None:
    """Put our own reading of lists and events in the place of kopf's. Both keep what kopf's promise."""
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
                yield (
                    [{"apiVersion": kind.group_version, "kind": kind.kind, **trim(each)} for each in page],
                    str(page.version),
                )
        except Outage as error:  # kopf lists again after these
            raise aiohttp.ClientConnectionError(str(error)) from error
        finally:
            await client.close()

    async def watch_objs(**given: Any) -> AsyncIterator[Any]:
        async for event in _watch_objs(**given):
            yield event if event.get("type") == "ERROR" else {**event, "object": trim(event["object"])}

    fetching.fetch_objs = fetch_objs
    watching.watch_objs = watch_objs


def _selector(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.group_version.rpartition("/")
    return group, version, kind.plural


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # no Events for log lines
    settings.scanning.disabled = True  # with rights in namespaces only it would otherwise handle nothing
    settings.process.ultimate_exiting_timeout = None
    settings.networking.connect_timeout = 5.0
    settings.networking.request_timeout = 30.0
    settings.networking.error_backoffs = (0.5, 1, 2, 4, 8)
    settings.queueing.idle_timeout = 1.0
    for kind in WATCHED[1:]:
        settings.watching.label_selectors[_selector(kind)] = MANAGED_SELECTOR
    return settings
