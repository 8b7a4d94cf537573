"""Puts the tests' temporary files into memory where there is room for them. ``TMPDIR`` overrides it.

Queues and databases flush their files thousands of times in a run, so on a busy disk the tests would take longer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes; a container's default of 64 MB is not enough


def pytest_configure() -> None:
    """A hook. A conftest that imports it applies it to all tests of its folder and to the processes that they start."""
    if "TMPDIR" not in os.environ and _usable():
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # so that tempfile reads TMPDIR again


def _usable() -> bool:
    if not os.access(MEMORY, os.W_OK):
        return False
    return not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC and shutil.disk_usage(MEMORY).free > ROOM
