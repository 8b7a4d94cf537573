"""An existing part of the shop: other parts put mails into this outbox to send them."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import psycopg


class Outbox:
    """Mails to send. Each key is stored once."""

    def __init__(self, url: str | None = None) -> None:
        self._url = url or os.environ["SHOP_DATABASE_URL"]
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None

    async def __aenter__(self) -> Self:
        self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def put(self, key: str, recipient: str, template: str) -> None:
        assert self._connection is not None
        await self._connection.execute(
            "INSERT INTO outbox (key, recipient, template) VALUES (%s, %s, %s) ON CONFLICT (key) DO NOTHING",
            (key, recipient, template),
        )
