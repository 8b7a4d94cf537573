"""Each test has databases of its own on the run's one PostgreSQL, as in tests/integration."""

from __future__ import annotations

import pytest

from tests.apps.comparison import twins
from tests.integration.conftest import (
    database,
    postgres_server,
    pytest_configure,
    pytest_configure_node,
    pytest_unconfigure,
)

__all__ = ["database", "postgres_server", "pytest_configure", "pytest_configure_node", "pytest_unconfigure", "twins"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many rows each application had, and how many are left."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "rows":
                terminalreporter.write_line(str(text))
