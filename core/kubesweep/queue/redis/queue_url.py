"""Parsing a queue URL: one server, a socket file, Sentinel or a cluster, plain or with TLS.

The password may be in a file, which is read at each connect, so a rotated password needs no restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from kubesweep.errors import SpecError
from kubesweep.text import clip
from kubesweep.urls import UNESCAPED, can_be_host, has_unescaped_login, shown_url

CODE = "QueueUrl"
SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
KNOWN = (
    "redis://[user:password@]host:6379/0, rediss:// for TLS, unix:///path/to/redis.sock, "
    "redis+sentinel://user:password@host:26379,host2:26379/service?db=0 or redis+cluster://host:6379,host2:6379"
)
TIMEOUT_OPTIONS = ("socket_timeout", "socket_connect_timeout")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_keyfile_password", "ssl_cert_reqs")
_FLAGS = ("ssl_check_hostname", "decode_responses")
_OTHERS = ("db", "username", "password_file", "sentinel_username", "sentinel_password", "sentinel_password_file", "tls")
TIMEOUT = 5.0  # seconds, the default of socket_timeout and socket_connect_timeout
LONGEST = 2048  # characters of a URL
LONGEST_TIMEOUT = 3600.0  # seconds


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
    """Reads the password from a file whenever a connection is opened."""

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
    if len(url) > LONGEST:
        raise _bad(url, f"has {len(url)} characters; at most {LONGEST} are taken")
    if has_unescaped_login(url):
        raise SpecError(CODE, f"the queue's URL cannot be read: {UNESCAPED}")
    parts = _split(url)
    query = _query(url, parts)
    tls = scheme in ("rediss", "valkeys") or query.pop("tls", "") in ("1", "true")
    login, _, addresses = parts.netloc.rpartition("@")
    kind = "socket" if scheme == "unix" else variant or "server"
    path = unquote(parts.path if kind == "socket" else parts.path.strip("/"))
    options, sentinel = _options(url, login, query, tls)
    if kind == "socket" and addresses:
        raise _bad(url, "a socket has no host: write three slashes")
    if kind in ("server", "cluster") and path:
        options["db"] = _integer(url, "db", path)
    hosts = () if kind == "socket" else _hosts(url, addresses, 26379 if kind == "sentinel" else 6379)
    _check(url, kind, hosts, path, options)
    where = path if kind == "socket" else f"{url.partition('://')[0]}://{addresses}{parts.path}"
    return Target(kind, hosts, path, options, sentinel, tls, where)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # brackets, or characters that are equivalent to others; its text may contain the password
        raise _bad(
            url, "cannot be read: percent-encode special characters, and write an IPv6 address as [::1]"
        ) from None


def _query(url: str, parts: SplitResult) -> dict[str, str]:
    allowed = (*TIMEOUT_OPTIONS, *_TLS, *_FLAGS, *_OTHERS)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in query:
        if name not in allowed:
            raise _bad(url, f"unknown option {clip(name, 64)!r}; known are {', '.join(sorted(allowed))}")
    return query


def _options(url: str, login: str, query: dict[str, str], tls: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    user, _, password = login.partition(":")
    username = unquote(user) or query.get("username") or None
    options: dict[str, Any] = {"db": _integer(url, "db", query.get("db", "0"))}
    for name in TIMEOUT_OPTIONS:
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
        raise _bad(url, "has a user but no password: add the password, or password_file")
    names = {"sentinel_username": "username", "sentinel_password": "password"}
    sentinel: dict[str, Any] = {names[name]: query[name] for name in names if name in query}
    if "sentinel_password_file" in query:
        provider = PasswordFile(sentinel.pop("username", None), query["sentinel_password_file"])
        sentinel = {"credential_provider": provider}
    return options, sentinel


def _check(url: str, kind: str, hosts: tuple[tuple[str, int], ...], path: str, options: dict[str, Any]) -> None:
    if kind == "sentinel" and not path:
        raise _bad(url, "the name of the Sentinel service is missing")
    if kind == "sentinel" and "@" in path:
        raise _bad(url, "the name of the Sentinel service has an @: user and password come behind two slashes")
    if kind == "socket" and not path:
        raise _bad(url, "the path of the socket is missing")
    if not path.isprintable():
        raise _bad(url, "its path has a character that cannot be printed")
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
        name = host.strip("[]") or "localhost"
        if (":" in name) != host.startswith("[") or not can_be_host(name):
            raise _bad(url, "its host is not a name or an address; an IPv6 address is written as [::1]")
        hosts.append((name, _integer(url, "port", port, 1, 65_535)))
    return tuple(hosts)


def _integer(url: str, name: str, value: str, least: int = 0, most: int = 2**31 - 1) -> int:
    number = int(value) if value.isascii() and value.isdecimal() and len(value) <= len(str(most)) else -1
    if not least <= number <= most:
        raise _bad(url, f"{name} must be a whole number from {least} to {most}")  # the text may be a part of a password
    return number


def _seconds(url: str, name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise _bad(url, f"{name} must be seconds above zero, at most {LONGEST_TIMEOUT:g}, not {clip(value, 32)!r}")
    return seconds


def _bad(url: str, why: str) -> SpecError:
    return SpecError(CODE, f"queue URL {shown_url(url)}: {why}. Use {KNOWN}")
