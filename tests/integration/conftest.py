"""One Postgres for a run, started by the first process (pytest -n), with a database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kubesweep.queue.redis.queue import RedisQueue
from tests.apps.comparison import databases
from tests.integration.cart_site import site
from tests.integration.pod import role, server
from tests.integration.postgres import LOCKED_ROLE, Server, postgres
from tests.kits.deadlines import scaled
from tests.kits.memory import pytest_configure
from tests.kits.servers import Server as RedisServer
from tests.kits.servers import shared

__all__ = [
    "database",
    "databases",
    "emptied",
    "locked_role",
    "postgres_server",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_unconfigure",
    "role",
    "server",
    "site",
]
POSTGRES = "postgres"
STARTED = pytest.StashKey[tuple[ExitStack, Server]]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the folder of the run's server to a process before it starts."""
    stash: pytest.Stash = node.config.stash
    if STARTED not in stash:
        running = ExitStack()
        stash[STARTED] = running, running.enter_context(postgres())
    node.workerinput[POSTGRES] = str(stash[STARTED][1].folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    if STARTED in config.stash:
        config.stash[STARTED][0].close()


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    given = getattr(request.config, "workerinput", {})
    if POSTGRES in given:
        yield Server(Path(given[POSTGRES]))
    else:
        with postgres() as server:
            yield server


@pytest.fixture
def database(postgres_server: Server) -> Iterator[str]:
    """The URL of an empty database for this test."""
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


@pytest.fixture
def locked_role(postgres_server: Server) -> Iterator[str]:
    """The name of a role that needs a password; the test creates it. Roles belong to the whole server, so only one test at a time has it.

    Name this fixture before ``database``, so that the role's objects there are dropped first.
    """
    with postgres_server.turn() as connection:
        yield LOCKED_ROLE
        connection.execute(f"DROP ROLE IF EXISTS {LOCKED_ROLE}".encode())


@pytest.fixture
def redis_server(kind: str) -> RedisServer:
    """The process's server of this kind (one_row.KINDS), without any key."""
    server = shared(kind)
    with server.client() as client:
        client.flushall()
    return server


@pytest.fixture
async def emptied(redis_server: RedisServer) -> AsyncIterator[RedisQueue]:
    """A queue on that server."""
    queue = RedisQueue(f"{redis_server.socket_url}&socket_timeout={scaled(60):g}")  # the server shares a busy machine
    yield queue
    await queue.close()
