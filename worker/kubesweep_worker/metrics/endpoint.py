"""The HTTP endpoint of a worker's process: ``/metrics`` for Prometheus, ``/healthz`` while the event loop runs.

It must not disturb the worker. A port that cannot be used is a warning. At most ``MOST`` connections are open, each for at most
``SECONDS`` and for one request. The text is rendered in a thread, one at a time. The server is asyncio's: importing aiohttp's would
take 12 MiB and 0.1 s of processor time in each worker without a webhook.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

from kubesweep.listen_address import Address
from kubesweep_worker.recorder import Snapshot

__all__ = ["metrics_endpoint"]

MOST = 16
SECONDS = 10.0
HEAD = 16 << 10  # bytes of a request that are read
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
log = logging.getLogger("kubesweep.worker")


@asynccontextmanager
async def metrics_endpoint(
    address: Address, snapshots: Callable[[], Sequence[Snapshot]], fix: str
) -> AsyncIterator[int | None]:
    """Serve the metrics; yields the port, or None where ``address`` cannot be used. ``fix``: what to do then, for the warning."""
    endpoint = _Endpoint(snapshots)
    try:
        sock = address.listen()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        log.warning("no metrics are served, because %s cannot be used (%s): %s", address, why, fix)
        yield None
        return
    server = await asyncio.start_server(endpoint.connected, sock=sock, limit=HEAD, backlog=MOST)
    try:
        yield sock.getsockname()[1]
    finally:
        server.close()
        endpoint.close()


class _Endpoint:
    def __init__(self, snapshots: Callable[[], Sequence[Snapshot]]) -> None:
        self._snapshots = snapshots
        self._open: set[asyncio.StreamWriter] = set()
        self._rendering = asyncio.Lock()

    def close(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            async with asyncio.timeout(SECONDS):
                writer.write(await self._answer(await reader.readuntil(b"\r\n\r\n")))
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client left, or sent no request
        except Exception:
            log.exception("a request for metrics failed")
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n")
        if path == b"/metrics":
            answer = _response(HTTPStatus.OK, await self._text(), CONTENT_TYPE)
        elif path == b"/healthz":
            answer = _response(HTTPStatus.OK, b"ok\n")
        else:
            answer = _response(HTTPStatus.NOT_FOUND, b"/metrics or /healthz\n")
        return answer if method == b"GET" else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    async def _text(self) -> bytes:
        async with self._rendering:
            return await asyncio.to_thread(_render, self._snapshots())


def _render(snapshots: Sequence[Snapshot]) -> bytes:
    from kubesweep_worker.metrics.exposition import exposition  # slow to import, and not needed before the first scrape

    return exposition(snapshots)


def _response(status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    allow = "Allow: GET, HEAD\r\n" if status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{allow}"
    return f"{head}Connection: close\r\n\r\n".encode() + body
