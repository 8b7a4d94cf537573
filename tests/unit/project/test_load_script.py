"""tests/load.py: its processes never outlive it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kits.deadlines import scaled

SCRIPT = str(Path(__file__).parents[2] / "load.py")


def run_with_load(*command: str) -> subprocess.Popen[bytes]:
    """Run a command with the script. Each process of the load inherits the pipes, which close when the last one ends."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, "--processes", "2", "--", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_exit_code_is_that_of_the_command_and_the_load_ends_with_it() -> None:
    ran = run_with_load(sys.executable, "-c", "raise SystemExit(3)")
    _, errors = ran.communicate(timeout=scaled(60))
    assert ran.returncode == 3
    assert b"load average" in errors


def test_a_load_ends_when_its_script_is_killed() -> None:
    ran = run_with_load("cat")
    assert ran.stdin is not None
    assert ran.stdout is not None
    ran.stdin.write(b"x")
    ran.stdin.flush()
    assert ran.stdout.read(1) == b"x"  # the command runs, with the load
    ran.kill()
    ran.communicate(timeout=scaled(60))
