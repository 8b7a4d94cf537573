"""The cases of docs/errors.md, section "Worker", that an effect raises: each returns the code and the text of its failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from kubesweep.errors import Outage, RowError, SweepFailure
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.effects.handler import HandlerEffect
from tests.integration.receivers import DELIVERY, deliver, raw_receiver, receiver, webhook
from tests.integration.test_worker_handlers import MODULE, handler_plan

Answer = tuple[str, str]
Case = Callable[[Path], Awaitable[Answer]]
ROW = {"idempotencyKey": DELIVERY.idempotency_key}


def code_of(error: BaseException) -> Answer:
    return (error.error if isinstance(error, RowError) else getattr(error, "reason", "?"), str(error))


def handled(function: str, timeout: float = 5.0) -> Case:
    async def case(_: Path) -> Answer:
        effect = HandlerEffect(handler_plan(function, timeout=timeout), f"{MODULE}:{function}")
        with pytest.raises((RowError, Outage, SweepFailure)) as caught:
            await effect.deliver(Delivery(("13",), {"id": 13}, "k", "now", 1, "s"))
        await effect.close()
        return code_of(caught.value)

    return case


def answered(status: int, timeout: float = 5.0) -> Case:
    async def case(_: Path) -> Answer:
        never = asyncio.Event()

        async def answer(request: web.Request) -> web.Response:
            if status == 0:
                await never.wait()
            if status < 0 and request.transport is not None:
                request.transport.abort()
            return web.Response(status=max(200, status), text="no such customer")

        async with receiver(answer) as url:
            with pytest.raises((RowError, Outage)) as caught:
                await deliver(url, timeout=timeout)
            never.set()
        code, text = code_of(caught.value)
        return code, text.replace(url.removeprefix("http://"), "mailer:8080")

    return case


def settled(results: object) -> Case:
    """A request in the format for many rows, which has one row and is answered with ``results``."""

    async def case(_: Path) -> Answer:
        async def answer(request: web.Request) -> web.Response:
            return web.json_response({"results": results})

        async with receiver(answer) as url, webhook(url) as effect:
            (found,) = await effect.deliver_batch([DELIVERY])
        assert isinstance(found, RowError)
        return code_of(found)

    return case


def until(text: str, words: str) -> str:
    """Without what the system says after ``words``."""
    return text.partition(words)[0] + words + "…"


def raw(said: bytes) -> Case:
    async def case(_: Path) -> Answer:
        async with raw_receiver(said) as url:
            with pytest.raises((RowError, Outage)) as caught:
                await deliver(url)
        code, text = code_of(caught.value)
        return code, until(text.replace(url.removeprefix("http://"), "mailer:8080"), "HTTP: ")

    return case


async def nobody_listens(_: Path) -> Answer:
    async with raw_receiver(b"") as url:
        pass
    with pytest.raises(Outage) as caught:
        await deliver(url)
    code, text = code_of(caught.value)
    return code, text.replace(url.removeprefix("http://"), "mailer:8080")


async def unknown_host(_: Path) -> Answer:
    with pytest.raises(Outage) as caught:
        await deliver("http://mailer.invalid")
    code, text = code_of(caught.value)
    return code, until(text, "resolved: ")


async def no_proxy(_: Path) -> Answer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", "socks5://10.0.0.1:1080")
        with pytest.raises(Outage) as caught:
            await deliver("http://mailer.invalid")
    return code_of(caught.value)


EFFECT_CASES: dict[str, Case] = {
    "a handler raises ValueError": handled("raises"),
    "a handler calls sys.exit": handled("exits_politely"),
    "a handler raises asyncio.CancelledError": handled("cancels_itself"),
    "a handler raises Reject": handled("rejects"),
    "a handler raises RetryAfter": handled("later"),
    "a handler does not return in time": handled("hangs", timeout=0.05),
    "a handler reads a column that it was not given": handled("asks_for_another_column"),
    "a handler's lifespan raises": handled("with_broken_lifespan"),
    "effect.handler is missing": handled("missing"),
    "effect.handler is not a function": handled("not_callable"),
    "the webhook answers 422": answered(422),
    "the webhook answers 301": answered(301),
    "the webhook answers 503": answered(503),
    "the webhook answers 429": answered(429),
    "the webhook does not answer": answered(0, timeout=0.05),
    "the webhook resets the connection": answered(-1),
    "the webhook's results do not name a row": settled([]),
    "the webhook's results have an unknown word": settled([{**ROW, "result": "done"}]),
    "the webhook's results are not a list": settled({}),
    "the webhook's results say reject": settled([{**ROW, "result": "reject", "message": "no such customer"}]),
    "the webhook answers 304": answered(304),
    "the webhook does not answer with HTTP": raw(b"220 mail.example.com ESMTP\r\n"),
    "the webhook's port is closed": nobody_listens,
    "the webhook's host is unknown": unknown_host,
    "HTTP_PROXY is not a proxy's URL": no_proxy,
    "a handler returns a generator": handled("returns_a_generator"),
    "a handler returns an unfinished future": handled("returns_a_future"),
    "effect.handler is a generator": handled("generates"),
    "effect.handler does not take (row, ctx)": handled("takes_one"),
}
