"""The HTTP endpoint of the metrics, on real sockets: what it answers, and that nothing which connects disturbs the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubesweep.listen_address import Address
from kubesweep_worker.metrics import endpoint
from kubesweep_worker.metrics.endpoint import HEAD, MOST, metrics_endpoint
from kubesweep_worker.recorder import Recorder, Snapshot
from tests.kits.deadlines import scaled
from tests.kits.worker import a_plan

ANY = Address("127.0.0.1", 0)


def snapshots() -> list[Snapshot]:
    return [Recorder(a_plan(), 1, lambda: 0.0).snapshot(())]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with metrics_endpoint(ANY, snapshots, "") as port:
        assert port is not None
        yield port


async def ask(port: int, request: bytes) -> bytes:
    """The answer, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(scaled(30)):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def get(port: int, path: str) -> tuple[str, str]:
    """Status line and body."""
    head, _, body = (await ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}" in head.decode().lower()
    return head.decode().splitlines()[0], body.decode()


async def test_metrics_are_served_in_the_format_of_prometheus(port: int) -> None:
    status, body = await get(port, "/metrics?x=1")
    assert status == "HTTP/1.1 200 OK"
    assert "kubesweep_worker_rows" in {family.name for family in text_string_to_metric_families(body)}


async def test_the_content_type_names_the_format(port: int) -> None:
    answer = await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in answer


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"200 OK", b"ok\n"),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", b"200 OK", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found", b"/metrics or /healthz\n"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b"GET or HEAD\n"),
        (b"nonsense\r\n\r\n", b"405 Method Not Allowed", b"GET or HEAD\n"),
        (b"GET\r\n\r\n", b"405 Method Not Allowed", b"GET or HEAD\n"),
    ],
)
async def test_other_requests_have_an_answer_too(port: int, request_: bytes, status: bytes, body: bytes) -> None:
    head, _, found = (await ask(port, request_)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert found == body


async def test_a_port_that_is_taken_is_one_warning_with_the_fix(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with metrics_endpoint(Address("127.0.0.1", port), snapshots, "use another one") as second:
            assert second is None
            assert (await get(port, "/healthz"))[1] == "ok\n", "the first one still serves"
    [record] = caplog.records
    assert record.getMessage() == (
        f"no metrics are served, because 127.0.0.1:{port} cannot be used (Address already in use): use another one"
    )


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
async def test_an_address_of_another_machine_is_a_warning_too(host: str, caplog: pytest.LogCaptureFixture) -> None:
    async with metrics_endpoint(Address(host, 9108), snapshots, "use another one") as port:
        assert port is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_request_without_an_end_is_not_read_on(port: int) -> None:
    assert await ask(port, b"GET /" + b"x" * 2 * HEAD) == b""
    assert (await get(port, "/healthz"))[1] == "ok\n"


async def test_a_client_that_sends_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "SECONDS", 0.05)
    async with metrics_endpoint(ANY, snapshots, "") as port:
        assert port is not None
        assert await ask(port, b"GET /metrics") == b""


async def test_beyond_the_most_connections_one_is_refused_until_another_ends(port: int) -> None:
    waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST)]
    assert await ask(port, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    reader, writer = waiting[0]
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(scaled(30)):
        assert (await reader.read()).endswith(b"ok\n")
    assert (await get(port, "/healthz"))[1] == "ok\n"
    for _, each in waiting:
        each.close()


async def test_a_snapshot_that_fails_is_logged_and_the_endpoint_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> list[Snapshot]:
        raise ZeroDivisionError

    async with metrics_endpoint(ANY, fail, "") as port:
        assert port is not None
        assert await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        assert (await get(port, "/healthz"))[1] == "ok\n"
    assert [record.message for record in caplog.records] == ["a request for metrics failed"]


async def test_the_end_disconnects_every_client_and_frees_the_port() -> None:
    async with metrics_endpoint(ANY, snapshots, "") as port:
        assert port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        # The endpoint has accepted the connection once it answers a later one.
        await get(port, "/healthz")
    async with asyncio.timeout(scaled(30)):
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        finally:
            writer.close()
    async with metrics_endpoint(Address("127.0.0.1", port), snapshots, "") as again:
        assert again == port
