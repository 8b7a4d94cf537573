"""A TCP proxy in front of the API server whose connections a test can close. It reads nothing of what passes through."""

from __future__ import annotations

import asyncio
import contextlib

from tests.kits.servers import free_port


class ApiServerProxy:
    """Listens on ``port`` of loopback between ``open`` and ``close``."""

    def __init__(self, server: str) -> None:
        host, _, port = server.removeprefix("https://").rpartition(":")
        self._upstream = host, int(port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = free_port()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        writers = list(self._writers)
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection(*self._upstream)
        self._writers |= {writer, upstream}
        with contextlib.suppress(OSError):
            await asyncio.gather(_pump(reader, upstream), _pump(upstream_reader, writer))
        for each in (writer, upstream):
            each.close()
        self._writers -= {writer, upstream}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
