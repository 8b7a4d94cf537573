"""From a URL to connections: one server, a socket file, Sentinel or a cluster; plain or TLS.

A move is never repeated by the client: whoever asked knows better whether to. The password may stand in a file, which
is read at each connect, so that a rotation heals without a restart. RESP2 is spoken: it needs no HELLO, so the least
rights of docs/redis-acl.md are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, ResponseError

from kubesweep.errors import SpecError
from kubesweep.urls import UNESCAPED, has_unescaped_login

CODE = "QueueUrl"
SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
KNOWN = (
    "redis://[user:password@]host:6379/0, rediss:// for TLS, unix:///path/to/redis.sock, "
    "redis+sentinel://user:password@host:26379,host2:26379/service?db=0 or redis+cluster://host:6379,host2:6379"
)
_FLOATS = ("socket_timeout", "socket_connect_timeout")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_keyfile_password", "ssl_cert_reqs")
_FLAGS = ("ssl_check_hostname", "decode_responses")
_OTHERS = ("db", "username", "password_file", "sentinel_username", "sentinel_password", "sentinel_password_file", "tls")
TIMEOUT = 5.0


class Target(NamedTuple):
    """A parsed queue URL. ``hosts`` is empty for a socket file."""

    kind: str  # server, socket, sentinel, cluster
    hosts: tuple[tuple[str, int], ...]
    path: str  # of the socket, or the Sentinel service's name
    options: dict[str, Any]  # for each connection
    sentinel: dict[str, Any]  # for connections to the Sentinels
    tls: bool
    where: str  # for messages; no password in it

    @property
    def timeout(self) -> float:
        return float(self.options["socket_timeout"])


class PasswordFile(CredentialProvider):
    """User and password, the latter as the file has it at the moment of connecting."""

    def __init__(self, username: str | None, path: str) -> None:
        self._username = username
        self._path = Path(path)

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = self._path.read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise AuthenticationError(f"password_file {self._path} cannot be read: {error.strerror}") from error
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def parse(url: str) -> Target:
    """Raises ``SpecError`` (code ``QueueUrl``) where the URL is not one of ``KNOWN``."""
    scheme, _, variant = url.partition("://")[0].lower().partition("+")
    if scheme not in SCHEMES or variant not in ("", "sentinel", "cluster"):
        raise _bad(url, "no such kind of queue")
    if has_unescaped_login(url):
        raise SpecError(CODE, f"the queue's URL cannot be read: {UNESCAPED}")
    parts = urlsplit(url)
    query = _query(url, parts)
    tls = scheme in ("rediss", "valkeys") or query.pop("tls", "") in ("1", "true")
    login, _, addresses = parts.netloc.rpartition("@")
    kind = "socket" if scheme == "unix" else variant or "server"
    path = unquote(parts.path if kind == "socket" else parts.path.strip("/"))
    options, sentinel = _options(url, login, query, tls)
    if kind in ("server", "cluster") and path:
        options["db"] = _integer(url, "db", path)
    hosts = () if kind == "socket" else _hosts(url, addresses, 26379 if kind == "sentinel" else 6379)
    _check(url, kind, hosts, path, options)
    where = path if kind == "socket" else f"{url.partition('://')[0]}://{addresses}{parts.path}"
    return Target(kind, hosts, path, options, sentinel, tls, where)


def open_client(target: Target) -> Any:
    """A client; connects at its first command.

    It sets no limit to the time of an answer, its user must: with a limit of its own redis-py writes under
    ``asyncio.wait_for``, which on Python 3.11 can swallow the cancellation of the task that asked.
    """
    options = dict(target.options)
    options.update(protocol=2, driver_info=None, socket_timeout=None)
    if target.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in target.hosts]
        options.pop("db")
        if target.tls:
            options["ssl"] = True
        # The names of the URL stay: in Kubernetes all nodes may have other addresses one day.
        options["dynamic_startup_nodes"] = False
        return RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 1), **options)
    options["retry"] = Retry(NoBackoff(), 0)
    if target.kind == "sentinel":
        tls = {"ssl": True} if target.tls else {}
        # All but one of them may be silent, and an answer still comes in time.
        patience = target.timeout / (len(target.hosts) + 1)
        limits = dict.fromkeys(_FLOATS, patience)
        usual = {**limits, "retry": options["retry"], "protocol": 2, **tls}
        trust = {name: value for name, value in options.items() if name.startswith("ssl_")}
        make: Any = Sentinel  # redis-py leaves it untyped
        keeper = make(list(target.hosts), sentinel_kwargs={**usual, **trust, **target.sentinel}, **options, **tls)
        return keeper.master_for(target.path)
    if target.kind == "socket":
        return Redis(connection_pool=ConnectionPool(UnixDomainSocketConnection, path=target.path, **options))
    [(host, port)] = target.hosts
    options.update(host=host, port=port)
    if target.tls:
        return Redis(connection_pool=ConnectionPool(SSLConnection, **options))
    return Redis(connection_pool=ConnectionPool(**options))


def request(*words: bytes, more: int = 0) -> bytes:
    """A command as it goes to the server. ``more``: how many words the caller will append."""
    return b"*%d\r\n" % (len(words) + more) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Lines:
    """The connections of a client that is not for a cluster, each lent to one question at a time. The client's own way to
    do that counts, times and tells (metrics, events, retries): half of the time of a short move."""

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._free: list[Any] = []  # the pool believes them in use, and closes them with all others

    async def ask(self, request: bytes) -> Any:
        """The answer to one request. Raises an error reply."""
        line = await self._take()
        try:
            await line.send_packed_command(request)
            return await line.read_response()
        finally:
            self._free.append(line)

    async def ask_both(self, blocking: bytes, behind: bytes) -> tuple[Any, Any]:
        """The answers to two requests on one connection, an error reply as a value: the server runs the second one the
        moment that the first, which blocks, is over."""
        line = await self._take()
        try:
            await line.send_packed_command(blocking + behind)
            return await _reply(line), await _reply(line)
        finally:
            self._free.append(line)

    async def hang_up(self) -> None:
        """Close the connections that nobody uses: the address may lead to another server by now."""
        free, self._free = self._free, []
        for line in free:
            await self._pool.release(line)
        await self._pool.disconnect(inuse_connections=False)

    async def _take(self) -> Any:
        if not self._free:
            return await self._pool.get_connection()
        line = self._free.pop()
        try:
            await self._pool.ensure_connection(line)  # it may be closed by now
        except BaseException:
            await self._pool.release(line)
            raise
        return line


async def _reply(line: Any) -> Any:
    try:
        return await line.read_response()
    except ResponseError as error:
        return error


async def close_client(client: Any) -> None:
    """Close a client and its connections, those too that a cancelled command left open."""
    if isinstance(client, RedisCluster):
        await client.aclose()
        return
    await client.aclose(close_connection_pool=True)
    if isinstance(client.connection_pool, SentinelConnectionPool):
        for sentinel in client.connection_pool.sentinel_manager.sentinels:
            await sentinel.aclose()


async def servers(target: Target) -> tuple[list[Target], list[Target]]:
    """Each server of a queue, as a target of its own: those that serve now, and their replicas, which may come to serve."""
    if target.kind not in ("sentinel", "cluster"):
        return [target], []
    client = open_client(target)
    try:
        if target.kind == "cluster":
            await client.initialize()
            primaries = [(node.host, node.port) for node in client.get_primaries()]
            replicas = [(node.host, node.port) for node in client.get_replicas()]
        else:
            keeper = client.connection_pool.sentinel_manager
            primaries = [await keeper.discover_master(target.path)]
            replicas = await keeper.discover_slaves(target.path)
    finally:
        await close_client(client)

    def each(found: Sequence[tuple[str, int]]) -> list[Target]:
        return [target._replace(kind="server", hosts=(host,)) for host in found]

    return each(primaries), each(replicas)


def _query(url: str, parts: SplitResult) -> dict[str, str]:
    allowed = (*_FLOATS, *_TLS, *_FLAGS, *_OTHERS)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in query:
        if name not in allowed:
            raise _bad(url, f"unknown option {name!r}; known are {', '.join(sorted(allowed))}")
    return query


def _options(url: str, login: str, query: dict[str, str], tls: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    user, _, password = login.partition(":")
    username = unquote(user) or query.get("username") or None
    options: dict[str, Any] = {"db": _integer(url, "db", query.get("db", "0"))}
    for name in _FLOATS:
        options[name] = _seconds(url, name, query.get(name, str(TIMEOUT)))
    for name in _FLAGS:
        if name in query:
            options[name] = query[name].lower() in ("1", "true", "yes")
    options.update((name, query[name]) for name in _TLS if name in query)
    if not tls and any(name.startswith("ssl_") for name in options):
        raise _bad(url, "ssl_ options need TLS: write rediss://, or tls=true for Sentinel and cluster")
    if "password_file" in query:
        options["credential_provider"] = PasswordFile(username, query["password_file"])
    elif password:
        options.update(username=username, password=unquote(password))
    elif username:
        raise _bad(
            url, "a user without a password, who would be logged in as nobody: add the password, or password_file"
        )
    names = {"sentinel_username": "username", "sentinel_password": "password"}
    sentinel: dict[str, Any] = {names[name]: query[name] for name in names if name in query}
    if "sentinel_password_file" in query:
        provider = PasswordFile(sentinel.pop("username", None), query["sentinel_password_file"])
        sentinel = {"credential_provider": provider}
    return options, sentinel


def _check(url: str, kind: str, hosts: tuple[tuple[str, int], ...], path: str, options: dict[str, Any]) -> None:
    if kind == "sentinel" and not path:
        raise _bad(url, "the name of the Sentinel service is missing")
    if kind == "socket" and not path:
        raise _bad(url, "the path of the socket is missing")
    if kind == "cluster" and options["db"]:
        raise _bad(url, "a cluster has only database 0")
    if kind == "server" and len(hosts) > 1:
        raise _bad(url, "one server has one address")


def _hosts(url: str, addresses: str, default: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for address in addresses.split(","):
        host, colon, port = address.rpartition(":") if not address.endswith("]") else (address, "", "")
        if not colon:
            host, port = address, str(default)
        hosts.append((host.strip("[]") or "localhost", _integer(url, "port", port)))
    return tuple(hosts)


def _integer(url: str, name: str, value: str) -> int:
    if not value.isdecimal():
        raise _bad(url, f"{name} must be a whole number, not {value!r}")
    return int(value)


def _seconds(url: str, name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise _bad(url, f"{name} must be seconds above zero, not {value!r}")
    return seconds


def _bad(url: str, why: str) -> SpecError:
    scheme, slashes, rest = url.partition("://")
    return SpecError(CODE, f"queue URL {scheme}{slashes}{rest.rpartition('@')[2]!s}: {why}. Use {KNOWN}")
