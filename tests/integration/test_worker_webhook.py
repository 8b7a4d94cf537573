from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import decimal
import gzip
import json
import logging
import ssl
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kubesweep.api.plan import Effect, Plan, Webhook
from kubesweep.errors import Outage, RowError
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Stats, SweepRequest, SweepState
from kubesweep.queue.service import QueueService
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.effects.response import retry_after
from kubesweep_worker.effects.webhook import WebhookEffect
from kubesweep_worker.row_values import json_safe
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.settings import WorkerSettings
from tests.integration.test_worker_handlers import handler_plan, left, make_table

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


async def swept(plan: Plan, url: str, queue: QueueService, where: str) -> Stats:
    """One sweep by one worker; ``where`` is the queue's URL."""
    await queue.open_sweep(plan.ref, SweepRequest(tick=1.0, plan=plan.version))
    settings = WorkerSettings(backoff=0.01, max_backoff=0.05)
    await build_worker(plan, url=lambda: url, queue_url=where, settings=settings).run(until_settled=True)
    (stats,) = await queue.stats([plan.ref])
    return stats


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
    async with webhook(url, 5.0) as effect:  # nobody listens there any more
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
    held = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await held.wait()
        return web.Response()

    async with receiver(answer) as url:
        with pytest.raises(Outage, match=r"did not answer within 0\.05 s") as caught:
            await deliver(url, timeout=0.05)
        held.set()
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


OK = b"HTTP/1.1 200 OK\r\n"
ODD_SUCCESSES = {
    "a cookie of 9 kB": OK + b"Set-Cookie: " + b"a" * 9_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "a header of 200 kB": OK + b"X-Long: " + b"a" * 200_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "500 headers": OK + b"".join(b"X-%d: y\r\n" % n for n in range(500)) + b"Content-Length: 2\r\n\r\nok",
    "a body of br": OK + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nplain",
    "a body of zstd": OK + b"Content-Encoding: zstd\r\nContent-Length: 5\r\n\r\nplain",
    "a body that is not the gzip it says": OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
    "a body that is cut off": OK + b"Transfer-Encoding: chunked\r\n\r\nfff\r\nok",
    "chunks that are none": OK + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\nok",
    "a control byte in a header": OK + b"X-B: \xc3\xa9\x01\r\nContent-Length: 2\r\n\r\nok",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a blank in a header's name": OK + b"X-Bad Name: y\r\nContent-Length: 2\r\n\r\nok",
    "a header without a colon": OK + b"nonsense\r\nContent-Length: 2\r\n\r\nok",
    "no length, HTTP 1.0": b"HTTP/1.0 200 OK\r\n\r\nok",
    "100 before it": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "103 before it": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", ODD_SUCCESSES)
async def test_a_status_of_success_is_one_whatever_headers_and_body_are(answer: str) -> None:
    async with raw_receiver(ODD_SUCCESSES[answer]) as url:
        await deliver(url)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"HTTP/1.1 422 No\r\nContent-Length: 500\r\nConnection: close\r\n\r\nshort", "Http422", "422: short"),
        (b"HTTP/1.1 422 No\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain", "Http422", "422: plain"),
        (
            b"HTTP/1.1 422 No\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"no such\ncart"),
            "Http422",
            "422: no such cart",
        ),
        (b"HTTP/1.1 999 Weird\r\nContent-Length: 0\r\n\r\n", "Http999", "the receiver answered 999"),
        (b"HTTP/1.1 304 NM\r\nContent-Length: 0\r\n\r\n", "Http304", "the receiver answered 304"),
        (
            b"HTTP/1.1 308 Moved\r\nLocation: https://u:p@shop.example:8443/x?token=hunter2\r\nContent-Length: 0\r\n\r\n",
            "Http308",
            "the receiver answered 308, a redirect to https://shop.example:8443, which a sweep does not follow: "
            "put the final URL into effect.webhook.url",
        ),
        (b"\x15\x03\x01\x00\x02\x02P\r\n\r\n", "NotHttp", "answered, but not with valid HTTP: "),
        (b"200 OK not http\r\n\r\n", "NotHttp", "answered, but not with valid HTTP: "),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_an_odd_refusal_is_its_rows_failure_and_says_what_was_answered(
    answer: bytes, error: str, text: str
) -> None:
    async with raw_receiver(answer) as url:
        with pytest.raises(RowError) as caught:
            await deliver(url)
    assert caught.value.error == error
    assert text in str(caught.value)
    assert "cannot be reached" not in str(caught.value)


async def test_a_secret_header_that_the_receiver_echoes_is_masked_before_the_text_is_cut() -> None:
    token = "s3cret/" + "x" * 1500

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"you sent": request.headers["Authorization"]}, status=422)

    async with receiver(answer) as url, webhook(url, headers={"Authorization": f"Bearer {token}"}) as effect:
        with pytest.raises(RowError) as caught:
            await effect.deliver(DELIVERY)
    assert str(caught.value) == 'the receiver answered 422: {"you sent": "***"}'


async def test_a_connection_is_used_again_when_the_body_comes_after_the_headers() -> None:
    connections: set[object] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        connections.add(request.transport)
        response = web.StreamResponse(headers={"Content-Length": "4"})
        await response.prepare(request)
        for _ in range(50):  # turns of the loop that both sides share
            await asyncio.sleep(0)
        await response.write(b"late")
        return response

    async with receiver(answer) as url, webhook(url) as effect:
        for _ in range(5):
            await effect.deliver(DELIVERY)
    assert len(connections) == 1


async def test_an_endless_body_takes_nothing_back_that_the_status_said() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 4096)
        return response

    async with receiver(answer) as url, webhook(url) as effect:
        await effect.deliver(DELIVERY)


def self_signed(folder: Path) -> Path:
    pem = folder / "both.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    added = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(pem), "-out", str(pem)]
    subprocess.run([*made.split(), *added], check=True, capture_output=True)
    return pem


async def test_a_certificate_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    pem = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=context)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, webhook(f"https://{host}") as effect:
        with pytest.raises(Outage) as caught:
            await effect.deliver(DELIVERY)
    assert str(caught.value) == (
        f"the receiver {host} cannot be reached: TLS: certificate verify failed: self-signed certificate"
    )


async def test_a_check_resolves_the_receivers_name() -> None:
    async with webhook("http://mailer.invalid:8080") as effect:
        with pytest.raises(
            Outage, match=r"the receiver mailer\.invalid:8080 cannot be reached: its name cannot be resolved: "
        ):
            await effect.probe()
    async with webhook("http://localhost") as effect:
        await effect.probe()


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


async def test_a_whole_sweep_survives_a_receiver_with_moods(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The receiver is away at first, then asks for patience, then refuses one row for good."""
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
    # Where it comes back amid a batch, the rows that it had refused until then are tried again by themselves.
    assert (stats.sweep.applied + stats.excluded, stats.dead) == (200, 0)
