"""Each test has databases of its own on the run's one PostgreSQL, as in tests/integration."""

from __future__ import annotations

from tests.integration.conftest import (
    database,
    postgres_server,
    pytest_configure,
    pytest_configure_node,
    pytest_unconfigure,
)

__all__ = ["database", "postgres_server", "pytest_configure", "pytest_configure_node", "pytest_unconfigure"]
