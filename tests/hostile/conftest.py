"""The cluster fixture of tests/e2e, for the tests of a hostile tenant."""

from tests.e2e.conftest import cluster

__all__ = ["cluster"]
