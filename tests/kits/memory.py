"""Temporary files of the tests lie in memory where there is room for them.

Queues and databases flush their files thousands of times a run. On a disk that somebody else writes to, that would decide how long a test takes.
``TMPDIR`` says otherwise.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes; a container's default of 64 MB is not enough


def pytest_configure() -> None:
    """A conftest that imports this gives it to all tests of its folder, and to the processes that they start."""
    if "TMPDIR" not in os.environ and _usable():
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # asked for again


def _usable() -> bool:
    if not os.access(MEMORY, os.W_OK):
        return False
    return not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC and shutil.disk_usage(MEMORY).free > ROOM
