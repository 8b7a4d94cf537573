"""The cluster of tests/e2e, for tests that mean harm."""

from tests.e2e.conftest import cluster

__all__ = ["cluster"]
