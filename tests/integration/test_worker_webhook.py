"""The webhook effect: its request, how it classifies answers, and a whole sweep."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import json
import logging
import uuid
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, RowError
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Stats, SweepRequest, SweepState
from kubesweep.queue.service import QueueService
from kubesweep_worker.effects.webhook_response import retry_after
from kubesweep_worker.row_values import json_safe
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.settings import WorkerSettings
from tests.integration.receivers import deliver, hook_plan, raw_receiver, receiver, webhook
from tests.integration.test_worker_handlers import left, make_table


async def swept(plan: Plan, url: str, queue: QueueService, where: str, *, await_retries: bool = False) -> Stats:
    """One sweep by one worker; ``where`` is the queue's URL."""
    await queue.open_sweep(plan.ref, SweepRequest(tick=1.0, plan=plan.version))
    settings = WorkerSettings(backoff=0.01, max_backoff=0.05)
    worker = build_worker(plan, url=lambda: url, queue_url=where, settings=settings)
    await worker.run(until_settled=True, await_retries=await_retries)
    (stats,) = await queue.stats([plan.ref])
    return stats


async def test_a_row_is_posted_as_json_under_its_idempotency_key() -> None:
    seen: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.Response:
        seen.update(method=request.method, headers=dict(request.headers), body=await request.json())
        return web.Response(status=204)

    values = {"at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "price": decimal.Decimal("1.10"), "raw": b"\x00\xff"}
    async with receiver(answer) as url:
        await deliver(url, values=values)
    assert seen["method"] == "POST"
    assert seen["headers"]["Idempotency-Key"] == "the-key"
    assert seen["headers"]["Content-Type"] == "application/json"
    assert seen["headers"]["Authorization"] == "Bearer x"
    assert seen["headers"]["User-Agent"] == f"kubesweep/{version('kubesweep')}"
    assert seen["body"] == {
        "schedule": "carts",
        "namespace": "default",
        "cutoff": "2026-01-01 00:00:00+00",
        "attempt": 2,
        "key": ["13"],
        "row": {"at": "2026-01-01T00:00:00+00:00", "price": "1.10", "raw": "AP8="},
    }


async def test_a_question_reaches_the_receiver_and_has_no_effect() -> None:
    seen: list[tuple[str, str | None, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.headers.get("Authorization"), await request.read()))
        return web.Response(status=405)

    async with receiver(answer) as url:
        async with webhook(url, 5.0) as effect:
            assert await effect.ask() == 405
        assert seen == [("OPTIONS", "Bearer x", b"")]
    async with webhook(url, 5.0) as effect:  # the port is closed
        with pytest.raises(Outage, match="Connection refused"):
            await effect.ask()
    async with raw_receiver(b"220 mail.example.com ESMTP\r\n") as url, webhook(url, 5.0) as effect:
        with pytest.raises(Outage, match="not with valid HTTP"):
            await effect.ask()


async def test_the_request_on_the_page_is_the_one_that_is_sent() -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    bodies: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.Response()

    at = dt.datetime(2025, 12, 31, 8, tzinfo=dt.UTC)
    values = {"id": 13, "at": at, "total": decimal.Decimal("1.10"), "raw": b"\x00\xff"}
    async with receiver(answer) as url:
        await deliver(url, values=values)
    assert bodies == [json.loads(page.split("```json\n")[1].split("```")[0])]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_an_answer_that_asks_for_patience_is_an_outage(status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "7"})

    async with receiver(answer) as url:
        with pytest.raises(Outage, match=f"the receiver answered {status}") as caught:
            await deliver(url)
    assert (caught.value.reason, caught.value.retry_after) == (f"Http{status}", 7.0)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (
            301,
            "the receiver answered 301, a redirect, which a sweep does not follow: put the final URL into effect.webhook.url",
        ),
        (400, "the receiver answered 400: no such customer"),
        (410, "the receiver answered 410: no such customer"),
        (422, "the receiver answered 422: no such customer"),
    ],
)
async def test_an_answer_that_refuses_is_the_rows_failure(status: int, text: str) -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=status, text="no such\ncustomer", headers={"Location": "/elsewhere"})

    async with receiver(answer) as url:
        with pytest.raises(RowError) as caught:
            await deliver(url)
    assert (caught.value.error, str(caught.value), asked) == (f"Http{status}", text, 1)


async def test_only_the_beginning_of_a_long_answer_is_kept() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=422, text="x" * 100_000)

    async with receiver(answer) as url:
        with pytest.raises(RowError) as caught:
            await deliver(url)
    assert str(caught.value) == "the receiver answered 422: " + "x" * 197 + "..."


async def test_a_slow_receiver_is_an_outage() -> None:
    blocked = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await blocked.wait()
        return web.Response()

    async with receiver(answer) as url:
        with pytest.raises(Outage, match=r"did not answer within 0\.05 s") as caught:
            await deliver(url, timeout=0.05)
        blocked.set()
    assert caught.value.reason == "Timeout"


async def test_a_reset_connection_and_a_closed_port_are_outages_and_show_no_url() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with receiver(answer) as url:
        with pytest.raises(Outage) as caught:
            await deliver(url)
    assert caught.value.reason == "Unreachable"
    host = url.removeprefix("http://")
    assert str(caught.value) == f"the receiver {host} closed the connection without an answer"
    with pytest.raises(Outage) as caught:
        await deliver(url)
    assert str(caught.value) == f"the receiver {host} cannot be reached: Connection refused"


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("120", 0.0) == 120.0
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10.0) == 50.0
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 100.0) == 0.0
    unusable = (None, "", "soon", "-5", "1.5", "²", "Wed, 21 Oct 99999999999999999999 07:28:00 GMT")
    assert [retry_after(text, 0.0) for text in unusable] == [None] * len(unusable)
    assert retry_after("Wed, 21 Oct 2015 07:28:00 +99999999999999999999", 0.0) is None
    for years in ("999999999", "Thu, 01 Jan 2099 00:00:00 GMT"):
        assert retry_after(years, 0.0) == 86_400.0


def test_every_database_value_becomes_json() -> None:
    value = {
        "d": dt.date(2026, 1, 2),
        "t": dt.time(3, 4),
        "i": dt.timedelta(hours=1),
        "u": uuid.UUID(int=1),
        "f": [1.5, float("nan"), float("inf")],
        "n": {"deep": (True, None, memoryview(b"a"))},
    }
    assert json.loads(msgspec.json.encode(json_safe(value))) == {
        "d": "2026-01-02",
        "t": "03:04:00",
        "i": "PT1H",
        "u": "00000000-0000-0000-0000-000000000001",
        "f": [1.5, "nan", "inf"],
        "n": {"deep": [True, None, "YQ=="]},
    }


async def test_a_whole_sweep_survives_a_receiver_that_fails_now_and_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The receiver is unavailable at first, then asks for patience, then refuses one row for good."""
    caplog.set_level(logging.DEBUG)
    calls: Counter[str] = Counter()
    keys: dict[str, set[str]] = {}

    async def answer(request: web.Request) -> web.Response:
        row = (await request.json())["row"]["id"]
        keys.setdefault(row, set()).add(request.headers["Idempotency-Key"])
        calls["all"] += 1
        calls[row] += 1
        if calls["all"] <= 40:
            return web.Response(status=500)
        if row == 13:
            return web.Response(status=422, text="thirteen")
        return web.Response()

    url = make_table(tmp_path / "carts.db", 200)
    where = f"sqlite:///{tmp_path / 'queue.db'}"
    queue = connect(where)
    async with receiver(answer) as base:
        plan = hook_plan(base)
        stats = await swept(plan, url, queue, where)
    dead = await queue.dead_letters(plan.ref)
    await queue.close()
    assert stats.sweep is not None
    assert stats.sweep.state is SweepState.COMPLETED
    assert stats.sweep.balanced
    assert ("13",) in {letter.key for letter in dead}
    assert [len(found) for found in keys.values()] == [1] * 200
    assert set(left(tmp_path / "carts.db")) == {int(letter.key[0]) for letter in dead}
    assert "hunter2" not in caplog.text


async def test_a_receiver_that_is_away_is_a_finding_that_says_what_becomes_of_the_rows(tmp_path: Path) -> None:
    said: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if not said:  # away until the worker has said so
            (stats,) = await queue.stats([plan.ref])
            said.extend(one.message for one in stats.findings if one.kind == "Effect" and not one.ok)
        return web.Response(status=200 if said else 503)

    url = make_table(tmp_path / "carts.db", 200)
    where = f"sqlite:///{tmp_path / 'queue.db'}"
    queue = connect(where)
    async with receiver(answer) as base:
        plan = hook_plan(base)
        stats = await swept(plan, url, queue, where)
    await queue.close()
    consequence = "Its rows are retried automatically and spend no attempt."
    assert set(said) == {f"the receiver answered 503. {consequence}"}
    assert stats.sweep is not None
    # Where the receiver recovers during a batch, the rows that it had refused until then are retried on their own.
    assert (stats.sweep.applied + stats.excluded, stats.dead) == (200, 0)
