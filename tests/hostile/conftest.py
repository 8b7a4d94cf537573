"""The cluster of tests/e2e and its lock, for the tests of a hostile tenant."""

from tests.e2e.conftest import cluster, pytest_runtest_protocol

__all__ = ["cluster", "pytest_runtest_protocol"]
