"""Receivers of webhooks, one with aiohttp and one that sends raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from kubesweep.api.plan import Effect, Plan, Webhook
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.effects.webhook import WebhookEffect
from tests.integration.test_worker_handlers import handler_plan

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


SECRET = "/hook?token=hunter2"


@asynccontextmanager
async def receiver(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_receiver(answer: bytes) -> AsyncIterator[str]:
    """Says ``answer`` to every request, byte by byte as it is; its body ends with the connection unless it has a length."""
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0] or 0))
                writer.write(answer)
                await writer.drain()
                if b"Content-Length:" not in answer:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*filter(None, serving))


def hook_plan(url: str, timeout: float = 5.0, **changes: Any) -> Plan:
    effect = Effect(columns=("id", "status"), webhook=Webhook(url + SECRET, timeout=timeout))
    return handler_plan("good", effect=effect, **changes)


DELIVERY = Delivery(("13",), {"id": 13}, "the-key", "2026-01-01 00:00:00+00", 2, "s")


@asynccontextmanager
async def webhook(
    url: str, timeout: float = 5.0, headers: dict[str, str] | None = None
) -> AsyncIterator[WebhookEffect]:
    plan = hook_plan(url, timeout)
    assert plan.effect is not None
    assert plan.effect.webhook is not None
    secret = headers or {"Authorization": "Bearer x"}
    effect = WebhookEffect(plan, plan.effect.webhook, lambda: secret, clock=lambda: 0.0)
    try:
        yield effect
    finally:
        await effect.close()


async def deliver(url: str, timeout: float = 5.0, values: dict[str, Any] | None = None) -> None:
    async with webhook(url, timeout) as effect:
        await effect.deliver(dataclasses.replace(DELIVERY, values=values or DELIVERY.values))
