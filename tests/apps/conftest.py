"""Databases for each test on the run's PostgreSQL, as in tests/integration."""

from __future__ import annotations

import pytest

from tests.apps.comparison import databases
from tests.integration.conftest import (
    database,
    postgres_server,
    pytest_configure,
    pytest_configure_node,
    pytest_unconfigure,
)

__all__ = [
    "database",
    "databases",
    "postgres_server",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_unconfigure",
]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of rows of each application before and after."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "rows":
                terminalreporter.write_line(str(text))
