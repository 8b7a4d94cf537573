"""A source that connects when it is first used, and reconnects whenever its URL changes.

In a cluster the URL is a mounted Secret: it may be created after the worker, be wrong at first, be rotated, or lead to
another server at any time. Everything learned about the old table is dropped with the old URL. Calls in progress end on the
source that they began with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.model import Database, Key, Sample, StaleRows
from kubesweep.text import as_sentence
from kubesweep_worker.sources import open_source
from kubesweep_worker.sources.base import (
    Cuts,
    Explanation,
    InspectableSource,
    Measured,
    Predicate,
    Scope,
    SourceRow,
    Table,
    Tried,
    Written,
)
from kubesweep_worker.sources.stale_search import StaleSearch

T = TypeVar("T")
URL_INVALID = "UrlInvalid"
URL_ERRORS = frozenset({URL_INVALID, "AuthenticationFailed", "DatabaseMissing", "Unreachable"})


def is_wrong_url(error: Exception) -> bool:
    """True for a URL that names no database. Every other error of a first connection may end without an edit."""
    return isinstance(error, SweepFailure) and error.reason == URL_INVALID


class _Opened:
    def __init__(self, url: str, source: InspectableSource) -> None:
        self.url, self.source, self.users, self.replaced = url, source, 0, False

    async def release(self) -> None:
        self.users -= 1
        await self.close_if_done()

    async def close_if_done(self) -> None:
        if self.replaced and not self.users:
            await self.source.close()


class ReconnectingSource:
    """See :class:`kubesweep_worker.sources.base.Source` and ``Inspector``.

    ``url`` is called for each call; it raises Outage or SweepFailure where there is no usable URL. ``where`` is a sentence
    that says where the URL is configured; errors caused by the URL end with it. ``refreshed``: something renews the password
    without an edit, so a refused password is an Outage instead of a SweepFailure.
    """

    def __init__(self, plan: Plan, url: Callable[[], str], where: str = "", *, refreshed: bool = False) -> None:
        self._plan, self._url, self._where, self._refreshed = plan, url, where, refreshed
        self._opened: _Opened | None = None

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.source.close()

    async def warm(self) -> None:
        await self._call(lambda source: source.warm())

    async def probe(self) -> None:
        await self._call(lambda source: source.probe())

    async def inspect(self) -> Table:
        return await self._call(lambda source: source.inspect())

    async def explain(self, cutoff: str) -> Explanation:
        return await self._call(lambda source: source.explain(cutoff))

    async def try_write(self, cutoff: str, most: int = 10) -> Tried:
        return await self._call(lambda source: source.try_write(cutoff, most))

    async def origin(self) -> str:
        return await self._call(lambda source: source.origin())

    async def database(self) -> Database:
        return await self._call(lambda source: source.database())

    async def table_rows(self) -> int | None:
        return await self._call(lambda source: source.table_rows())

    async def measured(self) -> Measured:
        return await self._call(lambda source: source.measured())

    async def measure(self, query: str) -> Sample:
        return await self._call(lambda source: source.measure(query))

    async def now(self) -> str:
        return await self._call(lambda source: source.now())

    async def bounds(self) -> tuple[str, Key | None]:
        return await self._call(lambda source: source.bounds())

    async def count(self, predicate: Predicate, most: int) -> int:
        return await self._call(lambda source: source.count(predicate, most))

    async def oldest(self, predicate: Predicate, search: StaleSearch) -> StaleRows:
        return await self._call(lambda source: source.oldest(predicate, search))

    async def cut(
        self,
        predicate: Predicate,
        after: Key | None,
        batch: int,
        most: int,
        until: Key | None = None,
    ) -> Cuts:
        return await self._call(lambda source: source.cut(predicate, after, batch, most, until))

    async def stale(self, scope: Scope, predicate: Predicate, most: int) -> list[SourceRow]:
        return await self._call(lambda source: source.stale(scope, predicate, most))

    async def keys(self, scope: Scope, predicate: Predicate) -> tuple[Key, ...]:
        return await self._call(lambda source: source.keys(scope, predicate))

    async def write(self, scope: Scope, predicate: Predicate, *, skip_locked: bool = False) -> Written:
        return await self._call(lambda source: source.write(scope, predicate, skip_locked=skip_locked))

    async def _call(self, call: Callable[[InspectableSource], Awaitable[T]]) -> T:
        try:
            opened = await self._open()
            opened.users += 1
            try:
                return await call(opened.source)
            finally:
                await opened.release()
        except (SweepFailure, Outage) as error:
            explained = self._explain_url(error)
            if explained is error:
                raise
            raise explained from error

    def _explain_url(self, error: SweepFailure | Outage) -> SweepFailure | Outage:
        """The error, with the sentence about the URL where the URL causes it."""
        if error.reason not in URL_ERRORS or not (self._where or self._refreshed):
            return error
        text = f"{as_sentence(str(error))} {self._where}" if self._where else str(error)
        if isinstance(error, Outage):
            return Outage(error.reason, text, maybe_applied=error.maybe_applied)
        # A token that expired before its successor arrived must not fail a sweep.
        expired = self._refreshed and error.reason == "AuthenticationFailed"
        return Outage(error.reason, text) if expired else SweepFailure(error.reason, text)

    async def _open(self) -> _Opened:
        url = self._url()
        before = self._opened
        if before is not None and before.url == url:
            return before
        self._opened = opened = _Opened(url, open_source(self._plan, lambda: url))
        if before is not None:
            before.replaced = True
            await before.close_if_done()
        return opened
