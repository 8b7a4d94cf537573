"""tests/load.py: what it starts never outlives it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kits.deadlines import scaled

SCRIPT = str(Path(__file__).parents[2] / "load.py")


def beside_a_load(*command: str) -> subprocess.Popen[bytes]:
    """Every process of the load has the other end of the pipes, so that they end when the last of them does."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, "--processes", "2", "--", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_exit_code_is_that_of_the_command_and_the_load_ends_with_it() -> None:
    ran = beside_a_load(sys.executable, "-c", "raise SystemExit(3)")
    _, said = ran.communicate(timeout=scaled(60))
    assert ran.returncode == 3
    assert b"load average" in said


def test_a_load_ends_when_its_script_is_killed() -> None:
    ran = beside_a_load("cat")
    assert ran.stdin is not None
    assert ran.stdout is not None
    ran.stdin.write(b"x")
    ran.stdin.flush()
    assert ran.stdout.read(1) == b"x"  # the command runs, beside the load
    ran.kill()
    ran.communicate(timeout=scaled(60))
