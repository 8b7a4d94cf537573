"""Every way to write a queue URL reaches a server: one, databases, TLS; with a password that rotates."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kubesweep.errors import Outage, SpecError
from kubesweep.queue.connect import connect
from kubesweep.queue.redis.connections import parse, servers
from tests.integration.one_row import KINDS, LIMITS, REFS, finish, start
from tests.kits.proxy import Proxy
from tests.kits.servers import Server, sentinel, shared


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "path"),
    [
        ("redis://queue", "server", (("queue", 6379),), ""),
        ("valkey://user:p%40ss@queue:7000/3", "server", (("queue", 7000),), "3"),
        ("redis://[::1]:7000", "server", (("::1", 7000),), ""),
        ("redis://[::1]", "server", (("::1", 6379),), ""),
        ("unix:///run/redis.sock?db=2", "socket", (), "/run/redis.sock"),
        ("redis+sentinel://u:p@a,b:26380/main?db=1", "sentinel", (("a", 26379), ("b", 26380)), "main"),
        ("rediss+cluster://a:7000,b:7001", "cluster", (("a", 7000), ("b", 7001)), ""),
    ],
)
def test_a_url_names_hosts_and_what_they_are(url: str, kind: str, hosts: tuple[Any, ...], path: str) -> None:
    target = parse(url)
    assert (target.kind, target.hosts, target.path) == (kind, hosts, path)


def test_a_url_gives_login_database_and_limits_to_each_connection() -> None:
    options = parse("valkeys://user:p%40ss@queue:7000/3?socket_timeout=1.5&ssl_ca_certs=/ca.pem").options
    assert (options["username"], options["password"], options["db"]) == ("user", "p@ss", 3)
    assert (options["socket_timeout"], options["ssl_ca_certs"]) == (1.5, "/ca.pem")


def test_no_message_shows_a_password() -> None:
    assert "secret" not in parse("redis://user:secret@queue:7000/3").where
    with pytest.raises(SpecError) as refused:
        parse("redis://user:secret@queue/x")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://queue/x", "db must be a whole number"),
        ("redis://queue:x", "port must be a whole number"),
        ("redis://queue?sockettimeout=1", "unknown option 'sockettimeout'"),
        ("redis://queue?socket_timeout=0", "socket_timeout must be seconds above zero"),
        ("redis://queue?ssl_ca_certs=/ca.pem", "ssl_ options need TLS"),
        ("redis://a,b", "one server has one address"),
        ("redis+sentinel://queue", "name of the Sentinel service is missing"),
        ("redis+cluster://queue/1", "a cluster has only database 0"),
        ("redis+proxy://queue", "no such kind of queue"),
        ("unix://", "the path of the socket is missing"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_the_reason(url: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as refused:
        parse(url)
    assert refused.value.code == "QueueUrl"
    assert "Use redis://" in str(refused.value)


@KINDS
async def test_databases_of_one_server_are_queues_of_their_own(kind: str) -> None:
    server = shared(kind)
    with server.client() as client:
        client.flushall()
    one, two = connect(server.url), connect(server.url.removesuffix("0") + "1")
    await start(one, REFS[0])
    assert (await two.claim(REFS[0], "ann", 1, LIMITS)).lost
    assert (await one.schedules(), await two.schedules()) == ((REFS[0],), ())
    await one.close()
    await two.close()


@KINDS
async def test_a_rotated_password_in_a_file_works_without_a_restart(kind: str, tmp_path: Path) -> None:
    server = Server(kind, requirepass="old").start()
    server.login = {"password": "old"}
    file = tmp_path / "password"
    queue = connect(f"{server.url}?password_file={file}")
    with pytest.raises(Outage, match="cannot be read") as refused:
        await queue.claim(REFS[0], "ann", 1, LIMITS)
    assert refused.value.reason == "QueueAuth"
    file.write_text("old\n")
    await start(queue, REFS[0])
    with server.client() as client:
        client.config_set("requirepass", "new")
        client.client_kill_filter(_type="normal", skipme=True)
    for _ in range(2):  # the first may only find that its connection is gone
        with pytest.raises(Outage) as refused:
            await queue.claim(REFS[0], "ann", 1, LIMITS)
    assert refused.value.reason == "QueueAuth"
    file.write_text("new")
    await finish(queue, REFS[0])
    await queue.close()
    server.remove()


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with ca.pem, and tls.pem and tls.key for 127.0.0.1."""
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    subprocess.run(
        [*made.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "tls.key", "-out", "tls.pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    shutil.copy(tmp_path / "tls.pem", tmp_path / "ca.pem")
    return tmp_path


@KINDS
async def test_tls_is_spoken_and_the_certificate_is_checked(kind: str, authority: Path) -> None:
    context = identity(authority)
    server = shared(kind)
    with server.client() as client:
        client.flushall()
    async with Proxy(server.port, tls=context) as proxy:
        queue = connect(f"{proxy.url}?ssl_ca_certs={authority / 'ca.pem'}")
        await start(queue, REFS[0])
        await finish(queue, REFS[0])
        await queue.close()
        doubtful = connect(proxy.url)
        with pytest.raises(Outage, match=r"(?i)certificate") as refused:
            await doubtful.claim(REFS[0], "ann", 1, LIMITS)
        assert refused.value.reason == "QueueUnreachable"
        await doubtful.close()


@KINDS
async def test_the_certificates_of_sentinels_are_checked_against_the_same_authority(kind: str, authority: Path) -> None:
    with sentinel(kind) as (primary, replica, watcher):
        async with Proxy(watcher.port, tls=identity(authority)) as proxy:
            where = f"{proxy.url.replace('rediss', 'rediss+sentinel').removesuffix('/0')}/main"
            found = await servers(parse(f"{where}?ssl_ca_certs={authority / 'ca.pem'}"))
            assert [[each.hosts for each in some] for some in found] == [
                [(("127.0.0.1", server.port),)] for server in (primary, replica)
            ]
            doubtful = connect(where)
            with pytest.raises(
                Outage, match=r"TLS.*No master found for 'main' : network:ConnectionError\)$"
            ) as refused:
                await doubtful.claim(REFS[0], "ann", 1, LIMITS)
            assert refused.value.reason == "QueueNoPrimary"
            await doubtful.close()


def identity(authority: Path) -> ssl.SSLContext:
    """Of a server whose certificate the authority signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / "tls.pem", authority / "tls.key")
    return context
