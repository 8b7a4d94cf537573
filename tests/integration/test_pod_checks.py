"""A check in a pod reports each problem until it is fixed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.pod import Pod, make_carts, pod_plan
from tests.integration.pod_logs import PAUSES, ended, idle, said
from tests.integration.postgres import LOCKED_ROLE
from tests.integration.postgres import Server as Postgres
from tests.kits.servers import Server

WELL = "database and receiver respond"


@pytest.fixture
async def make_pod(tmp_path: Path, server: Server) -> AsyncIterator[Callable[..., Pod]]:
    made: list[Pod] = []

    def make(**changes: Any) -> Pod:
        made.append(Pod(tmp_path / "pod", server, pod_plan(**changes)))
        return made[-1]

    yield make
    for pod in made:
        await pod.close()


def no_table(database: str, postgres: Postgres) -> tuple[str, Callable[[], str]]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE carts RENAME TO elsewhere")

    def fix() -> str:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("ALTER TABLE elsewhere RENAME TO carts")
        return database

    return database, fix


def wrong_password(database: str, postgres: Postgres) -> tuple[str, Callable[[], str]]:
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {LOCKED_ROLE} LOGIN SUPERUSER PASSWORD 'right'".encode())
    return postgres.url(str(name), LOCKED_ROLE, "wrong"), lambda: postgres.url(str(name), LOCKED_ROLE, "right")


def another_database(database: str, postgres: Postgres) -> tuple[str, Callable[[], str]]:
    return postgres.url("postgres"), lambda: database


def wrong_scheme(database: str, postgres: Postgres) -> tuple[str, Callable[[], str]]:
    return "mysql://root:hunter2@db/shop", lambda: database


def no_such_host(database: str, postgres: Postgres) -> tuple[str, Callable[[], str]]:
    return "postgresql://root:hunter2@127.0.0.1:1/shop", lambda: database


def no_such_database(database: str, postgres: Postgres) -> tuple[str, Callable[[], str]]:
    return postgres.url("nowhere"), lambda: database


@pytest.mark.usefixtures("locked_role")
@pytest.mark.parametrize(
    ("trouble", "reason", "advice"),
    [
        (no_table, "TableMissing", "Correct spec.source"),
        (another_database, "TableMissing", "Correct spec.source"),
        (wrong_password, "AuthenticationFailed", 'The URL is "url" in the Secret "support-db" in namespace "shop"'),
        (wrong_scheme, "UrlInvalid", 'The URL is "url" in the Secret "support-db" in namespace "shop"'),
        (no_such_host, "Unreachable", 'The URL is "url" in the Secret "support-db" in namespace "shop"'),
        (no_such_database, "DatabaseMissing", 'The URL is "url" in the Secret "support-db" in namespace "shop"'),
    ],
)
async def test_a_check_says_what_is_wrong_until_it_is_fixed(
    trouble: Any, reason: str, advice: str, make_pod: Any, database: str, postgres_server: Postgres
) -> None:
    make_carts(database)
    pod = make_pod()
    url, fix = trouble(database, postgres_server)
    pod.database.show(url=url)
    await pod.check()
    worker = pod.start()
    for _ in range(2):
        await said(worker, PAUSES, reason=reason)
    finding = await pod.finding("SourceReady")
    assert (finding.ok, finding.reason) == (False, reason)
    assert advice in finding.message
    assert "hunter2" not in finding.message
    pod.database.show(url=fix())
    await said(worker, WELL)
    await idle(pod)
    finding = await pod.finding("SourceReady")
    assert (finding.ok, finding.reason) == (True, "Checked")
    assert [each for each in (await pod.stats()).findings if not each.ok] == []
    await ended(worker)
