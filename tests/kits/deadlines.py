"""One factor for every deadline of the tests: ``KUBESWEEP_TEST_PATIENCE=3`` triples them all.

Deadlines cost nothing when a test passes, so they are long enough for a busy machine. The factor is for machines that are slower.
"""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("KUBESWEEP_TEST_PATIENCE") or 1)


def scaled(seconds: float) -> float:
    """``seconds`` multiplied by the factor."""
    return seconds * FACTOR
