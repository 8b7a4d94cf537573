"""URLs and addresses that people write: databases, queues, webhooks, proxies, listen addresses. No message shows a password, and what is
accepted means the same to each program that reads it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec
from hypothesis import strategies as st
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from kubesweep.api.database_url import Parts, compose, database_host
from kubesweep.api.models.web_address import WebAddress
from kubesweep.api.secret_values import check_url
from kubesweep.errors import Outage, SpecError, SweepFailure
from kubesweep.listen_address import parse_address
from kubesweep.logging import safe_url
from kubesweep.queue.connect import connect
from kubesweep.queue.redis.queue_url import parse as parse_queue
from kubesweep.urls import shown_url
from kubesweep_controller.queue_address import QueueAddress
from kubesweep_worker.effects.proxy import proxy_for
from kubesweep_worker.sources.postgres.connection_url import check_url as check_parameters
from kubesweep_worker.sources.sqlite.url import parse_url
from tests.fuzz.damage import PASSWORD, TEXTS, damaged_text
from tests.fuzz.oracles import check_message, check_spec_error
from tests.fuzz.target import Target

__all__ = ["TARGETS"]

HOSTS = [
    "db",
    "db.example",
    "10.0.0.7",
    "[::1]",
    "[2001:db8::7]",
    "localhost",
    "one:5432,two:5432",
    "ü.example",
    "a" * 64,
    "",
    "1.2.3.4.5",
    "fe80::1%eth0",
]
PORTS = ["", ":5432", ":0", ":99999", ":٣", ":²", ":x", ":", ":" + "9" * 5000]
PATHS = ["", "/", "/0", "/app", "/a/b", "/%00", "/" + "a" * 300, "//", "/queue.db", "/a%2Fb", "/:memory:"]
QUERIES = [
    "", "?", "?db=1", "?db=x", "?db=" + "9" * 5000, "?socket_timeout=5", "?socket_timeout=nan", "?socket_timeout=inf", "?socket_timeout=1e400", "?tls=true", "?ssl_cert_reqs=none",
    f"?sentinel_password={PASSWORD}", f"?password={PASSWORD}", f"?ssl_keyfile_password={PASSWORD}", "?password_file=/x", "?sslmode=require", "?mode=ro", "?mode=x",
    "?foreign_keys=off", "?schema=a", "?username=u", "?a=%zz", "?decode_responses=true", "#x", "?sentinel_username=u", f"?sslpassword={PASSWORD}",
]  # fmt: skip
LOGINS = [
    "",
    f"ann:{PASSWORD}@",
    f":{PASSWORD}@",
    "ann@",
    "ann:@",
    f"ann:{PASSWORD}%40@",
    f"ann:{PASSWORD}℀@",
    f"ann:[{PASSWORD}@",
    f"ann:{PASSWORD}]@",
    f"an/n:{PASSWORD}@",
]
KINDS: dict[str, tuple[str, ...]] = {
    "queue": ("redis", "rediss", "valkey", "valkeys", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "sqlite", "REDIS", "mysql", "valkey+sentinel"),
    "database": ("postgresql", "postgres", "sqlite", "postgresql+psycopg", "mysql", "POSTGRESQL"),
    "webhook": ("http", "https", "HTTP", "ftp"),
    "proxy": ("http", "https", "socks5"),
}  # fmt: skip
ADDRESSES = [
    "8720",
    ":8720",
    "0.0.0.0:8720",
    "[::1]:8720",
    "localhost:0",
    "::1",
    "db.example:65535",
    "[]:1",
    "[[a]]:1",
    "a" * 70 + ":1",
    ":" + "9" * 5000,
]


@st.composite
def urls(draw: st.DrawFn) -> dict[str, str]:
    kind = draw(st.sampled_from(sorted(KINDS)))
    parts = (
        draw(st.sampled_from(each))
        for each in (KINDS[kind], ["://"] * 6 + [":", ":/", ":///"], LOGINS, HOSTS, PORTS, PATHS, QUERIES)
    )
    scheme, mark, login, host, port, path, query = parts
    if login and scheme in ("unix", "sqlite"):
        mark = "://"  # behind three slashes it is a part of the file's name
    # Login and options stay whole, because damage may turn a part of them into a host, which messages name.
    where = draw(damaged_text([f"{host}{port}{path}"], TEXTS, most=2))
    return {"kind": kind, "url": f"{scheme}{mark}{login}{where}{query}"}


def check_any_url(case: dict[str, str]) -> None:
    for show in (safe_url, shown_url):
        assert PASSWORD not in show(case["url"]), f"{show.__name__} shows the password"
    _CHECKS[case["kind"]](case["url"])


def _refused(call: Callable[[], Any]) -> Any:
    """The result, or None where it was refused with a message as it should be."""
    try:
        return call()
    except SpecError as error:
        check_spec_error(error)
    except (SweepFailure, Outage) as error:
        check_message(f"{error.reason}: {error}")
    return None


def _check_queue(url: str) -> None:
    target = _refused(lambda: parse_queue(url))
    if target is not None:
        check_message(target.where or "-")
        assert 0 < target.timeout < 10**6
        assert all(0 < port < 65_536 for _, port in target.hosts)
        address = _refused(lambda: QueueAddress.of(url)) if target.kind != "socket" else None
        if address is not None:
            for user in ("", "k-shop"):
                text = address.pod_url(user)
                assert PASSWORD not in text
                again = parse_queue(text)
                assert (again.kind, again.hosts, again.path.strip("/"), again.tls) == (
                    target.kind,
                    target.hosts,
                    target.path if target.kind == "sentinel" else again.path,
                    target.tls,
                )
    if url.lower().startswith("sqlite"):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            if not _leaves(url, folder):
                _refused(lambda: connect(url))


def _leaves(url: str, folder: str) -> bool:
    """True if the queue would be created outside of the folder."""
    with contextlib.suppress(ValueError):
        path = unquote(urlsplit(url).path[1:])
        return "\0" not in path and not os.path.abspath(os.path.join(folder, path)).startswith(folder)
    return False  # it is refused before


def _check_database(url: str) -> None:
    try:
        checked = check_url(url)
    except ValueError as error:
        check_message(str(error))
        return
    if checked.startswith("sqlite"):
        found = _refused(lambda: parse_url(checked))
        assert found is None or found.path
        return
    _refused(lambda: check_parameters(checked))
    with contextlib.suppress(ProgrammingError):  # the driver's own message is handled where it connects
        conninfo_to_dict(checked)


_ADAPTER: TypeAdapter[str] = TypeAdapter(WebAddress)


def _check_webhook(url: str) -> None:
    try:
        address = _ADAPTER.validate_python(url)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            check_message(each["msg"])
        return
    parts, other = urlsplit(address), URL(address)
    assert parts.hostname, "an address without a host was accepted"
    assert parts.username is None
    assert other.user is None
    assert parts.port == other.explicit_port, "two parsers read another port"
    if parts.hostname.isascii():
        assert parts.hostname.lower() == (other.raw_host or "").lower(), "two parsers read another host"


def _check_proxy(url: str) -> None:
    before = dict(os.environ)
    os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = url.replace("\0", "")
    try:
        found = _refused(lambda: proxy_for("http://shop.example/hook"))
        assert found is None or urlsplit(found).hostname
    except UnicodeEncodeError:  # half a surrogate pair is no variable
        return
    finally:
        for name in ("HTTP_PROXY", "http_proxy"):
            os.environ.pop(name, None)
        os.environ.update(before)


_CHECKS = {"queue": _check_queue, "database": _check_database, "webhook": _check_webhook, "proxy": _check_proxy}


def check_address(text: str) -> None:
    try:
        found = parse_address(text, "--metrics", "127.0.0.1")
    except SpecError as error:
        check_spec_error(error, "")
        return
    again = parse_address(str(found), "--metrics")
    assert again == found, f"{found} is read as {again}"
    (found.host or "").encode("idna")  # as a socket does
    assert isinstance(found.loopback, bool)


PART = st.sampled_from(["db", "a.b", "::1", "10.0.0.1", "/run/x", PASSWORD, *TEXTS]) | st.text(max_size=5)
PARTS = st.fixed_dictionaries({"host": PART, "port": PART, "database": PART, "username": PART, "password": PART | st.just(PASSWORD)})  # fmt: skip


def check_parts(given: dict[str, str]) -> None:
    """A URL that is composed of parts has exactly these parts for the driver."""
    parts = Parts(secret="db", keys={name: name for name in given})
    try:
        url = compose(parts, given)
    except ValueError as error:
        check_message(str(error), "" if given["password"] != PASSWORD else f"'{PASSWORD}'")
        return
    check_url(url)
    assert msgspec.json.decode(msgspec.json.encode(parts), type=Parts) == parts
    found = conninfo_to_dict(url)
    assert found["host"] == database_host(given["host"])
    for name, key in (("database", "dbname"), ("username", "user"), ("password", "password")):
        assert (found.get(key) or "") == given[name].rstrip("\r\n"), f"the driver reads another {name}"
    assert quote(given["database"].rstrip("\r\n"), safe="") in url


TARGETS = (
    Target("urls", urls(), check_any_url),
    Target("addresses", damaged_text(ADDRESSES), check_address),
    Target("parts", PARTS, check_parts),
)
