"""Each call of an effect is recorded once, with the class of its answer."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable

import pytest
from aiohttp import web

from kubesweep.errors import KubesweepError
from kubesweep_worker.effects.base import NotStarted, always
from kubesweep_worker.effects.handler import HandlerEffect
from kubesweep_worker.effects.webhook import WebhookEffect
from kubesweep_worker.recorder import HANDLER_CLASSES, WEBHOOK_CLASSES
from tests.integration.receivers import DELIVERY, hook_plan, raw_receiver, receiver
from tests.integration.test_worker_handlers import MODULE, handler_plan
from tests.kits.servers import free_port


class Calls:
    def __init__(self) -> None:
        self.answers: list[str] = []

    def __call__(self, seconds: float, answer: str) -> None:
        assert seconds >= 0
        self.answers.append(answer)


async def post(url: str, timeout: float = 60.0) -> list[str]:
    plan, calls = hook_plan(url, timeout), Calls()
    assert plan.effect is not None
    assert plan.effect.webhook is not None
    effect = WebhookEffect(plan, plan.effect.webhook, dict, record=calls)
    try:
        with contextlib.suppress(KubesweepError):
            await effect.deliver(DELIVERY)
    finally:
        await effect.close()
    assert set(calls.answers) <= set(WEBHOOK_CLASSES)
    return calls.answers


@pytest.mark.parametrize(
    ("status", "class_"),
    [(204, "2xx"), (307, "3xx"), (404, "4xx"), (408, "4xx"), (429, "429"), (503, "5xx"), (599, "5xx"), (999, "4xx")],
)
async def test_an_answer_has_the_class_of_its_status(status: int, class_: str) -> None:
    async with raw_receiver(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()) as url:
        assert await post(url) == [class_]


async def test_a_receiver_that_does_not_answer_in_time_is_a_timeout() -> None:
    done = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await done.wait()
        return web.Response()

    async with receiver(wait) as url:
        assert await post(url, timeout=0.05) == ["timeout"]
        done.set()


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b""])
async def test_what_is_no_answer_is_a_failure_of_the_connection(answer: bytes) -> None:
    async with raw_receiver(answer) as url:
        assert await post(url) == ["connection"]


async def test_a_receiver_that_is_not_there_is_a_failure_of_the_connection() -> None:
    assert await post(f"http://127.0.0.1:{free_port()}") == ["connection"]


async def test_a_call_for_many_rows_is_one_call_and_a_question_is_none() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=204)

    async with receiver(answer) as url:
        plan, calls = hook_plan(url), Calls()
        assert plan.effect is not None
        assert plan.effect.webhook is not None
        effect = WebhookEffect(plan, plan.effect.webhook, dict, record=calls)
        rows = [dataclasses.replace(DELIVERY, idempotency_key=f"key-{n}") for n in range(3)]
        try:
            assert await effect.deliver_batch(rows) == [None, None, None]
            assert await effect.ask() == 204
        finally:
            await effect.close()
    assert calls.answers == ["2xx"]


def never() -> None:
    raise NotStarted


@pytest.mark.parametrize(
    ("function", "begin", "answers"),
    [
        ("plain", always, ["ok"]),
        ("skips", always, ["ok"]),
        ("rejects", always, ["error"]),
        ("exits_politely", always, ["error"]),
        ("cancels_itself", always, ["error"]),
        ("plain", never, []),
    ],
)
async def test_a_handler_succeeds_or_fails(function: str, begin: Callable[[], None], answers: list[str]) -> None:
    calls = Calls()
    effect = HandlerEffect(handler_plan(function), f"{MODULE}:{function}", record=calls)
    delivery = dataclasses.replace(DELIVERY, begin=begin)
    try:
        with contextlib.suppress(KubesweepError):
            await effect.deliver(delivery)
    finally:
        await effect.close()
    assert calls.answers == answers
    assert set(answers) <= set(HANDLER_CLASSES)


async def test_a_handler_that_the_worker_stops_is_not_counted() -> None:
    calls, began = Calls(), asyncio.Event()
    effect = HandlerEffect(handler_plan("hangs"), f"{MODULE}:hangs", record=calls)
    call = asyncio.create_task(effect.deliver(dataclasses.replace(DELIVERY, begin=began.set)))
    await began.wait()
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    await effect.close()
    assert (call.cancelled(), calls.answers) == (True, [])
