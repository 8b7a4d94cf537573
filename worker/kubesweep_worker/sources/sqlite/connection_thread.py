"""The one connection of a SqliteSource, in a thread of its own, so that a slow disk never blocks the event loop."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, SweepFailure
from kubesweep_worker.sources.sqlite.connection import connect
from kubesweep_worker.sources.sqlite.url import SqliteUrl, parse_url

T = TypeVar("T")


class ConnectionThread:
    """All methods but ``run`` and ``close`` belong to the thread. ``on_disconnect`` is called whenever the connection ends."""

    def __init__(self, plan: Plan, url: Callable[[], str], on_disconnect: Callable[[], None]) -> None:
        self._source, self._read_url, self._on_disconnect = plan.source, url, on_disconnect
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{plan.name}")
        self._file: tuple[int, int] | None = None
        self._deadline = 0.0
        self.connection: sqlite3.Connection | None = None
        self.url = SqliteUrl("")  # of the open connection

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def close(self) -> None:
        await self.run(self._disconnect)
        self._executor.shutdown(wait=False)

    def limit_time(self, seconds: float | None = None) -> None:
        """Interrupt the statements that run from now on after ``seconds``, statementTimeout by default."""
        self._deadline = time.monotonic() + (self._source.statement_timeout if seconds is None else seconds)

    def open(self) -> sqlite3.Connection:
        """The connection; a new one where the URL, or the file behind it, changed. Raises Outage, SweepFailure."""
        try:
            url = self.current_url()
        except OSError as error:
            raise Outage("UrlMissing", f"the database's URL cannot be read: {error.strerror or error}") from None
        try:
            status = os.stat(url.path)
        except OSError as error:
            self._disconnect()
            raise SweepFailure(
                "DatabaseMissing",
                f"the file {os.path.abspath(url.path)} cannot be opened ({error.strerror}): correct the URL; it is never created",
            ) from None
        file = (status.st_dev, status.st_ino)
        if self.connection is None or self._file != file or self.url != url:
            self._disconnect()
            self.connection = connect(url, self._source, self._is_late)
            self._file, self.url = file, url
        return self.connection

    def current_url(self) -> SqliteUrl:
        return parse_url(self._read_url())

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _disconnect(self) -> None:
        self._on_disconnect()
        if self.connection is not None:
            self.connection.close()
            self.connection = None
