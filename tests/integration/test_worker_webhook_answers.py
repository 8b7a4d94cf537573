"""Unusual answers of a webhook: malformed, endless, or with a certificate that is not trusted."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp import web

from kubesweep.errors import Outage, RowError
from tests.integration.receivers import DELIVERY, deliver, raw_receiver, receiver, webhook

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
        *(
            (
                b"HTTP/1.1 308 Moved\r\nLocation: " + to + b"\r\nContent-Length: 0\r\n\r\n",
                "Http308",
                f"308, a redirect{shown}, which",
            )
            for to, shown in (
                (b"ftp://shop.example/hunter2", ""),
                (b"https:///hunter2", ""),
                (b"https://shop.example/hunter2", " to https://shop.example"),
            )
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
