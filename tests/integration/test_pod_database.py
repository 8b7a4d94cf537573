"""A worker's pod whose database credentials come in parts, or in files that a sidecar writes, with a PostgreSQL that requires
a password.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from kubesweep.api.database_url import Parts
from kubesweep.queue.model import SweepRequest
from tests.integration.pod import Pod, pod_plan
from tests.integration.pod_logs import PAUSES, ended, idle, said
from tests.integration.postgres import LOCKED_ROLE
from tests.integration.postgres import Server as Postgres
from tests.integration.test_pod_work import FINISHED, all_new
from tests.kits.servers import Server

# Each of these ends a URL early, or means something else in one.
PASSWORDS = ("p@ss/w:rd %41 #?[1]", " 'quotes\" and \\ blanks ", "X-Amz-Signature=0%2F&Expires=900")
KEYS = {"username": "username", "password": "password"}


@pytest.fixture
async def pod(tmp_path: Path, server: Server) -> AsyncIterator[Pod]:
    made = Pod(tmp_path / "pod", server, pod_plan())
    del made.environment["KUBESWEEP_DATABASE_URL_FILE"], made.environment["KUBESWEEP_DATABASE_SECRET"]
    yield made
    await made.close()


def environment(pod: Pod, postgres: Postgres, database: str, **parts: Any) -> dict[str, str]:
    """The environment of a worker with host and database in the spec; the default host is the folder of a Unix socket."""
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    expected = Parts(**{"host": str(postgres.folder / "s"), "database": name, **parts})
    return {
        "KUBESWEEP_DATABASE_CONNECTION": msgspec.json.encode(expected).decode(),
        "KUBESWEEP_DATABASE_DIR": str(pod.database.folder),
    }


def nowhere_seen(pod: Pod, log: str) -> None:
    """The password is neither in the log, nor in the environment or the arguments of the worker."""
    expected = log + str(pod.started[-1].args) + "".join(pod.environment.values())
    assert not [password for password in PASSWORDS if password in expected]


async def test_a_secret_with_user_and_password_alone_is_waited_for_used_and_rotated(
    pod: Pod, role: Callable[[str], None], postgres_server: Postgres, database: str
) -> None:
    role(PASSWORDS[0])
    await pod.open()
    worker = pod.start("work", environment(pod, postgres_server, database, secret="shop-db", keys=KEYS))
    for _ in range(2):
        await said(worker, PAUSES, reason="UrlMissing")
    finding = await pod.finding("SourceReady")
    assert (
        'the Secret "shop-db" in namespace "shop" does not exist, or lacks "username" and "password"' in finding.message
    )
    pod.database.show(username=LOCKED_ROLE)
    missing = await said(worker, 'lacks "password"')
    assert missing["reason"] == "UrlMissing"
    pod.database.show(username=LOCKED_ROLE, password=PASSWORDS[0] + "\n")
    await said(worker, FINISHED)
    await all_new(pod, database)
    for tick, password in enumerate(PASSWORDS[1:], 2):
        role(password)
        pod.database.show(username=LOCKED_ROLE, password=password)
        await pod.queue.open_sweep(pod.plan.ref, SweepRequest(tick=tick, plan=pod.plan.version))
        await said(worker, FINISHED)
        await all_new(pod, database)
    assert (await pod.finding("SourceReady")).ok
    nowhere_seen(pod, await ended(worker))


async def test_a_wrong_password_names_the_secret_and_the_field(
    pod: Pod, role: Callable[[str], None], postgres_server: Postgres, database: str
) -> None:
    role(PASSWORDS[0])
    pod.database.show(username=LOCKED_ROLE, password=PASSWORDS[1])
    await pod.check()
    worker = pod.start("work", environment(pod, postgres_server, database, secret="shop-db", keys=KEYS))
    for _ in range(2):
        await said(worker, PAUSES, reason="AuthenticationFailed")
    finding = await pod.finding("SourceReady")
    assert (
        'The credentials are in spec.source.connection and the Secret "shop-db" in namespace "shop"' in finding.message
    )
    assert "URL" not in finding.message
    pod.database.show(username=LOCKED_ROLE, password=PASSWORDS[0])
    await idle(pod)
    nowhere_seen(pod, await ended(worker))


async def test_a_token_that_a_sidecar_rewrites_counts_at_the_next_connect_and_a_late_one_fails_no_sweep(
    pod: Pod, role: Callable[[str], None], postgres_server: Postgres, database: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    role(PASSWORDS[0])
    await pod.open()
    parts = {"username": LOCKED_ROLE, "password_file": str(token)}
    worker = pod.start("work", environment(pod, postgres_server, database, **parts))
    entry = await said(worker, PAUSES, reason="UrlMissing")
    assert f"the file {token} (spec.source.connection.passwordFile) is missing or empty" in entry["message"]
    token.write_text(PASSWORDS[0])
    await said(worker, FINISHED)
    await all_new(pod, database)
    role(PASSWORDS[2])  # the old token is no good any more, and the sidecar is late
    pod.run("tick")
    for _ in range(2):
        await said(worker, PAUSES, reason="AuthenticationFailed")
    assert (await pod.stats()).sweep.state.settled is False  # type: ignore[union-attr]
    token.write_text(PASSWORDS[2])
    await said(worker, FINISHED)
    await all_new(pod, database)
    nowhere_seen(pod, await ended(worker))


async def test_a_url_that_a_sidecar_rewrites_counts_at_the_next_connect(
    pod: Pod, role: Callable[[str], None], postgres_server: Postgres, database: str, tmp_path: Path
) -> None:
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    file = tmp_path / "url"
    role(PASSWORDS[0])
    await pod.open()
    worker = pod.start("work", {"KUBESWEEP_DATABASE_URL_FILE": str(file)})
    entry = await said(worker, PAUSES, reason="UrlMissing")
    assert f"no database URL: the file {file}" in entry["message"]
    file.write_text(postgres_server.url(name, LOCKED_ROLE, PASSWORDS[0]))
    await said(worker, FINISHED)
    role(PASSWORDS[2])
    file.write_text(postgres_server.url(name, LOCKED_ROLE, PASSWORDS[2]))
    pod.run("tick")
    await said(worker, FINISHED)
    await all_new(pod, database)
    nowhere_seen(pod, await ended(worker))


OPENSSL = [
    "openssl",
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
    "-subj",
    "/CN=test",
]


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with tls.crt and tls.key for ::1, and with other.crt, which has not signed it."""
    for name, more in (("tls", ["-addext", "subjectAltName=IP:::1"]), ("other", [])):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subprocess.run([*OPENSSL, *more, *files], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@asynccontextmanager
async def speaking_tls(postgres: Postgres, certificates: Path) -> AsyncIterator[int]:
    """A port of ::1 that forwards to the server's socket, with direct TLS as PostgreSQL 17 supports it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    context.set_alpn_protocols(["postgresql"])

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_unix_connection(postgres.folder / "s" / ".s.PGSQL.5432")
        await asyncio.gather(pump(reader, there), pump(back, writer))

    front = await asyncio.start_server(serve, "::1", 0, ssl=context)
    yield front.sockets[0].getsockname()[1]
    front.close()


async def test_the_servers_certificate_is_checked_against_the_one_of_a_secret(
    pod: Pod, role: Callable[[str], None], postgres_server: Postgres, database: str, certificates: Path
) -> None:
    role("right")
    login = {"username": LOCKED_ROLE, "password": "right"}
    pod.database.show(**login)
    await pod.open()
    async with speaking_tls(postgres_server, certificates) as port:
        expected = environment(
            pod,
            postgres_server,
            database,
            host="::1",
            port=port,
            secret="shop-app",
            keys=KEYS,
            ca=("shop-ca", "ca.crt"),
            parameters={"sslnegotiation": "direct"},
        )
        worker = pod.start("work", expected)
        entry = await said(worker, PAUSES, reason="UrlMissing")
        assert 'the Secret "shop-ca" in namespace "shop" does not exist, or lacks "ca.crt"' in entry["message"]
        pod.database.show(**login, **{"ca.crt": (certificates / "other.crt").read_text()})
        entry = await said(worker, PAUSES, reason="Unreachable")
        assert "certificate verify failed" in entry["message"]
        pod.database.show(**login, **{"ca.crt": (certificates / "tls.crt").read_text()})
        await said(worker, FINISHED)
        await all_new(pod, database)
        await ended(worker)
