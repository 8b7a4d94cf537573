"""A TCP proxy on loopback that drops a connection at a chosen moment: before a request arrives, or before its reply does."""

from __future__ import annotations

import asyncio
import ssl
from typing import Literal, Self

Cut = Literal["request", "reply"]


class Proxy:
    """An async context manager. ``cut`` names what is dropped next, together with its connection."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.to = port  # the port to which new connections are forwarded
        self._tls = tls
        self.cut: Cut | None = None
        self.cuts = 0
        self.hold: tuple[Cut, int] | None = None  # withhold this one (0 is the next) and all later ones
        self.blocked = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.arrived = asyncio.Event()  # a request arrived since it was cleared

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    def hang_up(self) -> None:
        for writer in self._open:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        back, there = await asyncio.open_connection("127.0.0.1", self.to)
        self._open |= {writer, there}
        try:
            await asyncio.gather(self._pump(reader, there, "request", writer), self._pump(back, writer, "reply", there))
        finally:
            for one in (writer, there):
                self._open.discard(one)
                one.close()
                await asyncio.gather(one.wait_closed(), return_exceptions=True)
            self._tasks.discard(task)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, what: Cut, other: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await source.read(65536):
                if what == "request":
                    self.arrived.set()
                if self.hold is not None and self.hold[0] == what:
                    self.hold = what, self.hold[1] - 1
                    if self.hold[1] < 0:
                        self.blocked.set()
                        while await source.read(65536):
                            pass
                        break
                if self.cut == what:
                    self.cut = None
                    self.cuts += 1
                    break
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        sink.close()
        other.close()


class Withholding(Proxy):
    """Forwards replies only while ``open`` is set."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.open = asyncio.Event()
        self.open.set()

    async def __aexit__(self, *_: object) -> None:
        self.open.set()
        await super().__aexit__()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, what: Cut, other: asyncio.StreamWriter
    ) -> None:
        await super()._pump(_PausableReader(source, self.open) if what == "reply" else source, sink, what, other)  # type: ignore[arg-type]


class _PausableReader:
    def __init__(self, source: asyncio.StreamReader, opened: asyncio.Event) -> None:
        self._source, self._opened = source, opened

    async def read(self, most: int) -> bytes:
        data = await self._source.read(most)
        await self._opened.wait()
        return data
