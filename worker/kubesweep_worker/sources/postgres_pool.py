"""Connections and transactions. One message carries a whole transaction wherever that is possible.

The simple query protocol takes many statements at once, so BEGIN, the settings and the statement cost one round trip;
the settings are LOCAL, so a transaction pooler may hand each transaction to another server connection. Nothing is
committed before ``commit``: a connection that breaks earlier has done nothing, and only a COMMIT without an answer is
``maybe_applied``.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import pq

from kubesweep.errors import Outage, SweepFailure
from kubesweep_worker.sources.classify import classify, classify_connect
from kubesweep_worker.sources.postgres_values import LOADERS, fetch

Rows = list[tuple[Any, ...]]
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
CONNECT_TIMEOUT = 10
SESSION = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET standard_conforming_strings = on"


def translate(error: psycopg.Error, *, maybe_applied: bool = False) -> Exception:
    if error.diag.source_function == "RevalidateCachedQuery":
        return Outage("TableChanged", "the table was altered while a statement ran")
    name = type(error).__name__
    text = (error.diag.message_primary or str(error)).strip()
    if error.sqlstate is None and not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return SweepFailure("SqlInvalid", f"the database driver refuses: {text}")
    return classify(error.sqlstate, text, name, function=error.diag.source_function, maybe_applied=maybe_applied)


def _dead(connection: Connection) -> bool:
    """An idle connection with something to read has been told goodbye (or a notice): not worth a failed statement."""
    if connection.closed or connection.broken:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Transaction:
    """An open transaction on a lent connection."""

    def __init__(self, connection: Connection, begin: str) -> None:
        self._connection = connection
        self._begin = begin
        self._skip = begin.count(";")

    async def run(self, *statements: str) -> list[Rows]:
        """All statements in one message; the rows of each (the number of rows touched, where it gives none)."""
        try:
            return await self._send(*statements)
        except psycopg.Error as error:
            raise translate(error) from None

    async def finish(self, *statements: str) -> list[Rows]:
        """Like ``run``, with the COMMIT in the same message: for transactions that write nothing."""
        return (await self.run(*statements, "COMMIT"))[:-1]

    async def query(self, statement: str, *values: object) -> Rows:
        """One statement with parameters ($1), for the catalogue."""
        if self._begin:
            await self.run("SELECT 1")
        try:
            async with psycopg.AsyncRawCursor(self._connection) as cursor:
                await cursor.execute(statement.encode(), values)
                return await cursor.fetchall()
        except psycopg.Error as error:
            raise translate(error) from None

    async def commit(self) -> None:
        try:
            await self._send("COMMIT")
        except psycopg.Error as error:
            raise translate(
                error, maybe_applied=error.sqlstate is None or error.sqlstate.startswith(("08", "57P", "40003"))
            ) from None

    async def _send(self, *statements: str) -> list[Rows]:
        skip, begin = self._skip, self._begin
        self._skip, self._begin = 0, ""
        async with psycopg.AsyncRawCursor(self._connection) as cursor:
            await cursor.execute((begin + ";\n".join(statements)).encode())
            answers: list[Rows] = []
            while True:
                if skip:
                    skip -= 1
                else:
                    answers.append(await fetch(cursor) if cursor.description is not None else [(cursor.rowcount,)])
                if not cursor.nextset():
                    return answers


class Pool:
    """At most ``size`` connections, opened when needed, kept, replaced when broken."""

    def __init__(self, url: Callable[[], str], size: int, name: str) -> None:
        self._url = url
        self._name = name
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def transaction(self, settings: Sequence[str]) -> AsyncIterator[Transaction]:
        """Nothing is sent before the first ``run``; whatever is not committed at the end is rolled back."""
        begin = "".join(f"{one};" for one in ("BEGIN ISOLATION LEVEL READ COMMITTED", *settings))
        async with self._free:
            connection = await self._get()
            try:
                yield Transaction(connection, begin)
            except (asyncio.CancelledError, GeneratorExit):
                await self._drop(connection)
                raise
            finally:
                await self._put(connection)

    async def _get(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not _dead(connection):
                return connection
            await self._drop(connection)
        return await self._connect()

    async def _connect(self) -> Connection:
        try:
            url = self._url()
        except OSError as error:
            raise Outage("UrlMissing", f"the database's URL cannot be read: {error.strerror or error}") from None
        try:
            connection = await psycopg.AsyncConnection.connect(
                url.strip(),
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=CONNECT_TIMEOUT,
                application_name=self._name[:63],
                client_encoding="UTF8",
            )
        except psycopg.OperationalError as error:
            raise classify_connect(_without_password(str(error), url)) from None
        except (psycopg.Error, ValueError):
            # The driver's text quotes the URL with its password.
            raise SweepFailure(
                "UrlInvalid",
                "the database's URL cannot be parsed: write postgresql://user:password@host:5432/database, with special characters percent-encoded",
            ) from None
        for name, loader in LOADERS.items():
            connection.adapters.register_loader(name, loader)
        try:
            await connection.execute(SESSION)
        except psycopg.Error as error:
            await self._drop(connection)
            raise translate(error) from None
        except asyncio.CancelledError:
            await self._drop(connection)
            raise
        return connection

    async def _put(self, connection: Connection) -> None:
        try:
            await self._end(connection)
        except BaseException:  # cancelled while it rolled back
            await self._drop(connection)
            raise
        if self._closed or connection.closed or connection.info.transaction_status is not pq.TransactionStatus.IDLE:
            await self._drop(connection)
        else:
            self._idle.append(connection)

    @staticmethod
    async def _end(connection: Connection) -> None:
        status = connection.info.transaction_status
        if not connection.closed and status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR):
            with suppress(psycopg.Error):
                await connection.execute("ROLLBACK")

    @staticmethod
    async def _drop(connection: Connection) -> None:
        with suppress(psycopg.Error, OSError):
            await connection.close()


def _without_password(text: str, url: str) -> str:
    with suppress(ValueError):
        password = urlsplit(url).password
        if password:
            text = text.replace(password, "***")
    return text


__all__ = ["Pool", "Rows", "Transaction", "translate"]
