"""Connections and transactions. One message contains a whole transaction wherever possible.

The simple query protocol accepts several statements at once, so BEGIN, the settings and the statement cost one round trip.
The settings are LOCAL, so a transaction pooler may use another server connection for each transaction. Nothing is committed
before ``commit``: a connection that breaks earlier changed nothing, and only a COMMIT without an answer is ``maybe_applied``.

A peer that disappears (a firewall that dropped the connection, a frozen host) never answers, and then the server's
statement_timeout does not help. So every message has a deadline on this side, after which the connection is closed.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq

from kubesweep.errors import Outage, SweepFailure
from kubesweep_worker.sources.postgres.connection_url import check_url, kept_alive, without_password
from kubesweep_worker.sources.postgres.errors import classify, classify_connect
from kubesweep_worker.sources.postgres.sqlstates import RAISED
from kubesweep_worker.sources.postgres.values import LOADERS, fetch

Rows = list[tuple[Any, ...]]
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
CONNECT_TIMEOUT = 10
CANCELLED = "57014"
CANCELLED_EARLY = "StatementCancelled"  # reason of the Outage, if that was before statementTimeout


class NoAnswer(psycopg.OperationalError):
    """The database did not answer within the deadline of this side."""


@contextmanager
def _deadline(connection: Connection, seconds: float) -> Iterator[None]:
    """Shut the connection down after ``seconds``, so that its caller gets an error. Raises NoAnswer then."""
    expired = False

    def cut() -> None:
        nonlocal expired
        expired = True
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)

    alarm = asyncio.get_running_loop().call_later(seconds, cut)
    try:
        yield
    except psycopg.Error:
        if expired:
            raise NoAnswer(f"no answer within {seconds:g} s, so the connection is closed") from None
        raise
    finally:
        alarm.cancel()


def translate(error: psycopg.Error, *, maybe_applied: bool = False, timed_out: bool = True) -> Exception:
    """``timed_out``: the statement ran for about statementTimeout. One that was cancelled earlier has the same SQLSTATE, but was
    cancelled by somebody else."""
    if error.sqlstate == CANCELLED and not timed_out and error.diag.source_function not in RAISED:
        return Outage(CANCELLED_EARLY, "somebody cancelled the statement (57014), before statementTimeout")
    if isinstance(error, NoAnswer):
        return Outage("NoAnswer", f"the database is silent: {error}", maybe_applied=maybe_applied)
    if error.diag.source_function == "RevalidateCachedQuery":
        return Outage("TableChanged", "the table was altered while a statement ran")
    name = type(error).__name__
    text = (error.diag.message_primary or str(error)).strip()
    if error.sqlstate is None and not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return SweepFailure("SqlInvalid", f"the database driver refuses: {text}")
    return classify(error.sqlstate, text, name, function=error.diag.source_function, maybe_applied=maybe_applied)


def _dead(connection: Connection) -> bool:
    """Whether an idle connection is unusable. One with data to read was closed by the server, or got a notice; it is replaced too."""
    if connection.closed or connection.broken:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long this side waits, in seconds: ``statement``, the server's timeout for each statement, and a ``margin``."""

    statement: float
    margin: float = 5.0

    def seconds(self, statements: int) -> float:
        return self.statement * statements + self.margin


class Transaction:
    """An open transaction on a connection of the pool."""

    def __init__(self, connection: Connection, begin: str, timeouts: Timeouts) -> None:
        self._connection = connection
        self._timeouts = timeouts
        self._sent = 0.0
        self._begin = begin
        self._skip = begin.count(";")

    async def run(self, *statements: str) -> list[Rows]:
        """Send all statements in one message. Returns the rows of each, or its number of affected rows where it returns none."""
        try:
            return await self._send(*statements)
        except psycopg.Error as error:
            raise translate(error, timed_out=self._timed_out) from None

    @property
    def _timed_out(self) -> bool:
        return time.monotonic() - self._sent >= 0.9 * self._timeouts.statement

    async def finish(self, *statements: str) -> list[Rows]:
        """Like ``run``, with a COMMIT in the same message, for transactions that write nothing."""
        return (await self.run(*statements, "COMMIT"))[:-1]

    async def query(self, statement: str, *values: object) -> Rows:
        """One statement with parameters ($1), for the catalog."""
        if self._begin:
            await self.run("SELECT 1")
        try:
            with _deadline(self._connection, self._timeouts.seconds(1)):
                async with psycopg.AsyncRawCursor(self._connection) as cursor:
                    await cursor.execute(statement.encode(), values)
                    return await cursor.fetchall()
        except psycopg.Error as error:
            raise translate(error) from None

    async def commit(self) -> None:
        try:
            await self._send("COMMIT")
        except psycopg.Error as error:
            unknown = error.sqlstate is None or error.sqlstate.startswith(("08", "57P", "40003"))
            raise translate(error, maybe_applied=unknown, timed_out=self._timed_out) from None

    async def _send(self, *statements: str) -> list[Rows]:
        skip, begin = self._skip, self._begin
        self._skip, self._begin = 0, ""
        self._sent = time.monotonic()
        answers: list[Rows] = []
        with _deadline(self._connection, self._timeouts.seconds(len(statements))):
            async with psycopg.AsyncRawCursor(self._connection) as cursor:
                await cursor.execute((begin + ";\n".join(statements)).encode())
                while True:
                    if skip:
                        skip -= 1
                    elif cursor.description is not None:
                        answers.append(await fetch(cursor))
                    else:
                        answers.append([(cursor.rowcount,)])
                    if not cursor.nextset():
                        return answers


class Pool:
    """At most ``size`` connections, opened on demand, reused, and replaced when broken."""

    def __init__(self, url: Callable[[], str], size: int, name: str, timeouts: Timeouts) -> None:
        self._url = url
        self._name = name
        self._timeouts = timeouts
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def transaction(self, settings: Sequence[str]) -> AsyncIterator[Transaction]:
        """Sends nothing before the first ``run``, and rolls back what is not committed at the end."""
        begin = "".join(f"{one};" for one in ("BEGIN ISOLATION LEVEL READ COMMITTED", *settings))
        async with self._free:
            connection = await self._get()
            try:
                yield Transaction(connection, begin, self._timeouts)
            except (asyncio.CancelledError, GeneratorExit):
                await self._drop(connection)
                raise
            finally:
                await self._put(connection)

    async def run_on_each(self, connections: int, settings: Sequence[str], statement: str) -> None:
        """Run the statement on that many connections at once, opening those that are missing, and roll it back."""

        async def run() -> None:
            async with self.transaction(settings) as tx:
                await tx.run(statement)

        # Without return_exceptions, the first failure would leave the others running, on connections that are never closed.
        for failure in await asyncio.gather(*(run() for _ in range(connections)), return_exceptions=True):
            if failure is not None:
                raise failure

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
        check_url(url)
        try:
            connection = await psycopg.AsyncConnection.connect(
                kept_alive(url.strip()),
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=CONNECT_TIMEOUT,
                application_name=self._name[:63],
                client_encoding="UTF8",
            )
        except psycopg.OperationalError as error:
            raise classify_connect(str(error), without_password(str(error), url)) from None
        except (psycopg.Error, ValueError):
            # The driver's message quotes the URL with its password.
            raise SweepFailure(
                "UrlInvalid",
                "the database's URL cannot be parsed: write postgresql://user:password@host:5432/database, with special characters percent-encoded",
            ) from None
        for name, loader in LOADERS.items():
            connection.adapters.register_loader(name, loader)
        return connection

    async def _put(self, connection: Connection) -> None:
        try:
            await self._end(connection)
        except BaseException:  # cancelled during the rollback
            await self._drop(connection)
            raise
        if self._closed or connection.closed or connection.info.transaction_status is not pq.TransactionStatus.IDLE:
            await self._drop(connection)
        else:
            self._idle.append(connection)

    async def _end(self, connection: Connection) -> None:
        status = connection.info.transaction_status
        if not connection.closed and status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR):
            with suppress(psycopg.Error), _deadline(connection, self._timeouts.seconds(1)):
                await connection.execute("ROLLBACK")

    @staticmethod
    async def _drop(connection: Connection) -> None:
        with suppress(psycopg.Error, OSError):
            await connection.close()


__all__ = ["Pool", "Rows", "Timeouts", "Transaction", "translate"]
