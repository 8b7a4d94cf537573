from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.postgres import Server, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    with postgres() as server:
        yield server


@pytest.fixture
def database(postgres_server: Server) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)
