"""One factor for every deadline of the tests: ``KUBESWEEP_TEST_PATIENCE=3`` triples them all.

A deadline costs nothing where a test passes, so it is long enough for a busy machine. The factor is for a slower one still.
"""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("KUBESWEEP_TEST_PATIENCE") or 1)


def scaled(seconds: float) -> float:
    """The deadline to use in place of ``seconds``."""
    return seconds * FACTOR
