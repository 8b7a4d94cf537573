"""The console of the controller: over the cache of a leader, and in a standby over the API server."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kubesweep.errors import Outage
from kubesweep_console.provider import Action, ActionKind
from kubesweep_controller.console import server
from kubesweep_controller.console.provider import LIST, PROBE, ClusterProvider
from kubesweep_controller.console.server import ConsoleServer
from kubesweep_controller.kube.client import KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.settings import Settings, from_environment
from kubesweep_controller.status.command_values import read_value
from kubesweep_controller.status.commands import CommandKind, annotation
from tests.integration.receivers import receiver
from tests.kits.controller import SPEC, Clock


def schedule(name: str, namespace: str = "shop", state: str = "Running") -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    sweep = {"id": "1", "tick": "2027-01-15T08:00:00Z", "state": state, "planned": 9}
    spec = SPEC | {"effect": {"webhook": {"url": "https://example.com/hunter2"}}}
    return {"metadata": meta, "spec": spec, "status": {"lastSweep": sweep}}


class Api:
    """An API server that lists schedules."""

    def __init__(self) -> None:
        self.schedules = [schedule("carts"), schedule("visits")]
        self.status = 200
        self.requests: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        assert request.method == "GET", "the console only reads"
        if self.status != 200 or "/gone/" in request.path:
            return web.json_response({"message": "no"}, status=self.status if self.status != 200 else 403)
        return web.json_response({"metadata": {"resourceVersion": "9"}, "items": self.schedules})


class Kit:
    def __init__(self, api: Api, client: KubeClient, namespaces: tuple[str, ...] = ()) -> None:
        self.api, self.clock = api, Clock()
        self.cache: dict[tuple[str, str], Any] | None = None
        self.provider = ClusterProvider("ns/ks", client, namespaces, lambda: self.cache, self.clock)

    async def names(self) -> list[str]:
        return [each["metadata"]["name"] for each in (await self.provider.snapshot()).documents]


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    api = Api()
    async with receiver(api.answer) as url:
        client = KubeClient(Kubeconfig(url))
        yield Kit(api, client)
        await client.close()


async def test_a_standby_lists_now_and_then_while_it_is_asked(kit: Kit) -> None:
    assert await kit.names() == ["carts", "visits"]
    kit.api.schedules.pop()
    kit.clock.now += LIST - 1
    assert await kit.names() == ["carts", "visits"]
    kit.clock.now += 1
    assert await kit.names() == ["carts"]
    assert len(kit.api.requests) == 2


async def test_a_standby_without_the_api_server_raises(kit: Kit) -> None:
    kit.api.status = 503
    with pytest.raises(Outage):
        await kit.names()
    kit.api.status = 403
    with pytest.raises(Outage, match="no"):
        await kit.names()


async def test_a_standby_skips_a_namespace_that_it_may_not_read(kit: Kit) -> None:
    made = Kit(kit.api, kit.provider._client, ("gone", "shop"))
    assert await made.names() == ["carts", "visits"]


async def test_a_leader_shows_its_cache_and_lists_nothing(kit: Kit) -> None:
    kit.cache = {("shop", name): schedule(name) for name in ("b", "a")}
    first = await kit.provider.snapshot()
    assert [each["metadata"]["name"] for each in first.documents] == ["a", "b"]
    assert (first.problem, first.read_at) == ("", kit.clock.now)
    kit.cache["shop", "b"] = schedule("b", state="Completed")
    second = await kit.provider.snapshot()
    assert second.documents[0] is first.documents[0], "unchanged"
    assert second.documents[1]["status"]["lastSweep"]["state"] == "Completed"
    assert [path for path in kit.api.requests if "sweepschedules" in path] == []


async def test_leader_and_standby_call_the_same_objects_the_same_version(kit: Kit) -> None:
    """A browser may get the page from one of them and the stream of versions from the other."""
    listed = await kit.provider.snapshot()
    kit.cache = {("shop", name): schedule(name) for name in ("visits", "carts")}
    watched = await kit.provider.snapshot()
    assert watched.documents == listed.documents
    assert watched.version == listed.version
    changed = schedule("visits")
    changed["metadata"]["resourceVersion"] = "2"
    kit.cache["shop", "visits"] = changed
    assert (await kit.provider.snapshot()).version != listed.version


async def test_a_leader_whose_api_server_is_away_says_since_when(kit: Kit) -> None:
    kit.cache = {("shop", "a"): schedule("a")}
    began = (await kit.provider.snapshot()).read_at
    kit.api.status = 503
    kit.clock.now += PROBE
    snapshot = await kit.provider.snapshot()
    assert snapshot.problem.startswith("ApiBusy: ")
    assert snapshot.read_at == began
    kit.api.status = 200
    assert (await kit.provider.snapshot()).problem == snapshot.problem, "asked every few seconds only"
    kit.clock.now += PROBE
    assert (await kit.provider.snapshot()).problem == ""


async def test_the_commands_are_those_of_kubectl(kit: Kit) -> None:
    (document, _) = (await kit.provider.snapshot()).documents
    commands = {kind: kit.provider.command(Action(kind, document)) for kind in ActionKind}
    prefix = "kubectl annotate sweepschedule carts -n shop --overwrite kubesweep.dev/"
    for kind in (ActionKind.TRIGGER, ActionKind.APPROVE):
        assert commands[kind] == f"{prefix}{kind}=$(date +%s)"
    assert commands[ActionKind.RETRY] == f"{prefix}retry-dead-letters=$(date +%s)"
    assert commands[ActionKind.PAUSE].endswith('--type merge -p \'{"spec":{"suspend":true}}\'')
    assert commands[ActionKind.RESUME].endswith('--type merge -p \'{"spec":{"suspend":false}}\'')


async def test_a_schedule_that_its_annotation_pauses_is_resumed_without_it(kit: Kit) -> None:
    kit.api.schedules[0]["status"]["throttle"] = {
        "reason": "Annotation",
        "value": "pause",
        "message": "no row is started",
    }
    (document, _) = (await kit.provider.snapshot()).documents
    resume = kit.provider.command(Action(ActionKind.RESUME, document))
    assert resume == "kubectl annotate sweepschedule carts -n shop kubesweep.dev/throttle-"
    suspended = {"type": "Suspended", "status": "True", "reason": "Suspended", "message": "no tick fires"}
    both = {**document, "status": {**document["status"], "conditions": [suspended]}}
    assert '"suspend":false' in kit.provider.command(Action(ActionKind.RESUME, both))


def words_of(command: str) -> list[str]:
    """The words that a shell makes of a command."""
    printed = subprocess.run(["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True)
    return printed.stdout.splitlines()


@pytest.mark.parametrize("error", ["Http500", 'it\'s $5 "off"', "-n; rm \\ `id`"])
async def test_a_command_for_one_error_acts_on_its_rows_only(kit: Kit, error: str) -> None:
    (document, _) = (await kit.provider.snapshot()).documents
    for kind, name in ((ActionKind.RETRY, "retry-dead-letters"), (ActionKind.PURGE, "purge-dead-letters")):
        command = kit.provider.command(Action(kind, document, error=error))
        *start, assignment = words_of(command)
        assert start == ["kubectl", "annotate", "sweepschedule", "carts", "-n", "shop", "--overwrite"]
        body = {"metadata": {"annotations": dict([assignment.split("=", 1)])}}
        value = read_value(annotation(body, CommandKind(name)), ("error", "keys"))
        assert (value.error, value.keys, value.problem) == (error, None, "")
        assert value.nonce.isdigit()


async def test_an_approval_names_the_sweep_that_the_page_shows(kit: Kit) -> None:
    (document, _) = (await kit.provider.snapshot()).documents
    command = kit.provider.command(Action(ActionKind.APPROVE, document, sweep="5b1f"))
    assert '"sweep": "5b1f"' in words_of(command)[-1]


# the server


def settings(**variables: str) -> Settings:
    needed = {"KUBESWEEP_QUEUE": "redis://q", "KUBESWEEP_WORKER_IMAGE": "i", "POD_NAMESPACE": "ns", "POD_NAME": "p"}
    return from_environment({**needed, "KUBESWEEP_CONSOLE_PORT": "0", **variables})


@pytest.fixture
def console() -> Iterator[ConsoleServer]:
    """A console over a cache of two schedules, whose API server does not respond."""
    made = ConsoleServer(settings(), Kubeconfig("http://127.0.0.1:1"))
    made.cached = lambda: {("shop", name): schedule(name) for name in ("carts", "visits")}
    made.start()
    assert made.wait(60)
    yield made
    made.stop()


@pytest.fixture
async def reader(console: ConsoleServer) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{console.port}", connector=connector) as session:
        yield session


async def test_the_pages_show_the_schedules_and_no_secret(reader: aiohttp.ClientSession) -> None:
    for path in ("/", "/databases", "/dead-letters", "/schedules/shop/carts", "/schedules/shop/carts/sweeps/latest"):
        async with reader.get(path) as answer:
            text = await answer.text()
            assert answer.status == 200, path
            assert "hunter2" not in text
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    async with reader.get("/") as answer:
        text = await answer.text()
    assert all(name in text for name in ("carts", "visits", "ns/kubesweep-controller"))
    assert "ApiUnreachable" in text, "the data may be out of date, and the page says so"


async def test_two_processes_send_the_same_page(console: ConsoleServer, reader: aiohttp.ClientSession) -> None:
    other = ConsoleServer(settings(), Kubeconfig("http://127.0.0.1:1"))
    other.cached = console.cached
    other.start()
    assert other.wait(60)
    versions = []
    for port in (console.port, other.port):
        async with reader.get(f"http://127.0.0.1:{port}/") as answer:
            versions += re.findall(r'data-version="([^"]+)"', await answer.text())
    await asyncio.to_thread(other.stop)
    assert len(versions) == 2
    assert versions[0] == versions[1]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nothing_can_be_written(reader: aiohttp.ClientSession, method: str) -> None:
    for path in ("/", "/schedules/shop/carts/trigger", "/schedules/shop/carts/purge?key=x"):
        async with reader.request(method, path, data={"token": "", "nonce": "1"}) as answer:
            assert answer.status == 405


async def test_a_page_of_an_action_shows_the_command_alone(reader: aiohttp.ClientSession) -> None:
    async with reader.get("/schedules/shop/carts/trigger") as answer:
        text = await answer.text()
    assert "kubectl annotate sweepschedule carts" in text
    assert "<form" not in text


async def test_streams_are_limited_and_pages_still_answer(reader: aiohttp.ClientSession) -> None:
    streams = [await reader.get("/events") for _ in range(server.MAX_STREAMS)]
    assert {each.status for each in streams} == {200}
    async with reader.get("/events") as answer:
        assert answer.status == 503
    async with reader.get("/") as answer:
        assert answer.status == 200
    for each in streams:
        each.close()


async def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch, console: ConsoleServer) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 5)
    opened = [await asyncio.open_connection("127.0.0.1", console.port) for _ in range(5)]
    for _, writer in opened:  # an answer shows that the server has accepted the connection
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [(await read.readline())[:12] for read, _ in opened] == [b"HTTP/1.1 200"] * 5
    reader, writer = await asyncio.open_connection("127.0.0.1", console.port)
    assert await reader.read() == b"", "closed without an answer"
    for each in (writer, *(each for _, each in opened)):
        each.close()
        await each.wait_closed()


def test_a_port_that_is_taken_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("kubesweep"), "propagate", True)
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        made = ConsoleServer(settings(KUBESWEEP_CONSOLE_PORT=str(port)), Kubeconfig("http://127.0.0.1:1"))
        made.start()
        made.stop()
    assert "the console is not served" in caplog.text


def test_without_the_variable_there_is_no_console() -> None:
    assert settings(KUBESWEEP_CONSOLE_PORT="").console_port is None
