"""The handler of the sweep of idle conversations: notifies the customer before the conversation is set to idle.

Kubesweep calls a handler at least once for each row, with the same ``ctx.idempotency_key`` each time. The handler posts
to NOTIFY_URL. If that is not set, it writes a log line, so that the example runs without a receiver.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from kubesweep_worker.handlers import Context, Reject, RetryAfter, Row, Skip, handler

BUSY = (425, 429, 503)


class Notifier:
    """Posts a JSON body with an Idempotency-Key. There is one per worker, so that connections are reused."""

    def __init__(self, url: str | None, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def send(self, ctx: Context, body: dict[str, str]) -> None:
        """Raises Skip, Reject or RetryAfter according to the response. Other errors pass through, and the row is retried."""
        if self._url is None:
            ctx.log.info("%s: would notify, but NOTIFY_URL is not set", ctx.idempotency_key)
            return
        headers = {"Idempotency-Key": ctx.idempotency_key}
        async with self._session.post(self._url, json=body, headers=headers) as answer:
            if answer.status == 409:
                raise Skip(f"{self._url} answered that the conversation continues")
            if answer.status in BUSY:
                raise RetryAfter(float(answer.headers.get("Retry-After", "5")), f"{self._url} answered {answer.status}")
            if 400 <= answer.status < 500:
                raise Reject(f"{self._url} answered {answer.status} {answer.reason}")
            answer.raise_for_status()


@asynccontextmanager
async def notifier() -> AsyncIterator[Notifier]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield Notifier(os.environ.get("NOTIFY_URL"), session)


@handler(lifespan=notifier)
async def notify_idle(row: Row, ctx: Context) -> None:
    """Ask the customer whether they are still there."""
    if not row["from_number"].startswith("+"):
        raise Reject("from_number is not an international number, so no notice can be sent")
    body = {"event": "idle", "conversation": str(row["id"]), "to": row["from_number"], "session": row["session_key"]}
    await ctx.state.send(ctx, body)
